// Prints what a running program counts, as `postern gateway --metrics-addr 127.0.0.1:9100` shows it:
//   node examples/metrics.mjs http://127.0.0.1:9100/metrics postern_ready
const [, , url, prefix] = process.argv;
const response = await fetch(url);
for (const line of (await response.text()).split("\n")) {
  const sample = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line);
  if (sample?.[1].startsWith(prefix)) console.log(sample[1], sample[2] ?? "", Number(sample[3]));
}
