// Fetches a page of a private web server:
//   POSTERN_API_URL=wss://portal.example POSTERN_TOKEN=… node examples/fetch.mjs http://wiki.corp.example/
import { connectClient } from "postern";

const { POSTERN_API_URL: apiUrl, POSTERN_TOKEN: token } = process.env;
const client = await connectClient({ apiUrl, token, id: "example-fetch" });
const response = await client.fetch(process.argv[2]);
console.log(response.status, await response.text());
await client.close();
