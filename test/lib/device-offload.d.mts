export type Offload = "rx" | "tx" | "sg" | "tso" | "gso" | "gro";

/** @throws Error when the device does not let itself be told */
export function setOffload(device: string, offload: Offload, isOn: boolean): void;
