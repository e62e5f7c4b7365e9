export { type Admission, createTcpHost, type TcpEvent, type TcpHost, type TcpHostOptions } from "./host.ts";
