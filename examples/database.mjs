// Asks a private PostgreSQL, with the package `postgres`:
//   POSTERN_API_URL=wss://portal.example POSTERN_TOKEN=… node examples/database.mjs postgres://me@db.corp.example/shop 'select 1'
import { connectClient } from "postern";
import { createConnection } from "postern/node";
import postgres from "postgres";

const { POSTERN_API_URL: apiUrl, POSTERN_TOKEN: token } = process.env;
const [, , url, query] = process.argv;
const { hostname: host, port } = new URL(url);
const client = await connectClient({ apiUrl, token, id: "example-database" });
const sql = postgres(url, { socket: () => createConnection(client, { host, port: Number(port || 5432) }) });
console.log(JSON.stringify(await sql.unsafe(query)));
await sql.end();
await client.close();
