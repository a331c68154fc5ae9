export { address, allRows, ApiFailure, get, rows, type Answer, type Params } from "./client";
export { useHistory, type History } from "./history";
export { useResource, useRows, type Resource } from "./resource";
export { useStream, type StreamRows, type StreamState, type StreamWish } from "./stream";
export { setToken } from "./token";
export type * from "./types";
