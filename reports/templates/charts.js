// Draws every chart from the specification beside it; marks the holder, so that a test can wait.
window.dgpruneViews = {};
const config = JSON.parse(document.getElementById("chart-config").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");
// On a phone legends stand under the plot and names are cut: beside it they would leave no room.
const narrow = window.matchMedia("(max-width: 40rem)").matches;
const legend = { orient: "bottom", columns: 2, layout: { bottom: { direction: "vertical", anchor: "start" } } };
const sized = narrow
  ? { ...config, axisY: { labelLimit: 110 }, legend: { ...config.legend, ...legend } }
  : config;
const theme = () => (dark.matches && !window.matchMedia("print").matches ? "dark" : "light");
async function drawChart(figure) {
  const spec = JSON.parse(figure.querySelector("script").textContent);
  const plot = figure.querySelector(".plot");
  const drawn = await window.vegaEmbed(plot, spec, {
    mode: "vega-lite",
    renderer: "svg",
    config: sized,
    bind: figure.querySelector(".lists"),
    actions: { export: true, source: false, compiled: false, editor: false },
    downloadFileName: figure.id,
    tooltip: { theme: theme() },
    patch: spec.usermeta?.fitsWidth ? fitted : undefined,
  });
  window.dgpruneViews[figure.id] = drawn.view;
  figure.querySelector(".lists").addEventListener("change", async () => {
    await drawn.view.runAsync();
    describe(figure);
  });
  describe(figure);
  figure.dataset.state = "drawn";
}
// The compiled chart, as wide as its holder whatever the length of its labels.
function fitted({ width, signals = [], ...vega }) {
  const held = "isFinite(containerSize()[0]) ? containerSize()[0] : 300";
  const follows = { name: "width", init: held, on: [{ update: held, events: "window:resize" }] };
  return { ...vega, autosize: { type: "fit-x", contains: "padding" }, signals: [follows, ...signals] };
}
// Says where nothing fits the lists, and lets the keyboard scroll what is larger than its holder.
function describe(figure) {
  const plot = figure.querySelector(".plot");
  const found = plot.querySelector(":is(.mark-symbol, .mark-rect).role-mark > *");
  figure.querySelector(".nothing").textContent = found ? "" : "Nothing was measured for this choice.";
  const isLarger = plot.scrollHeight > plot.clientHeight || plot.scrollWidth > plot.clientWidth;
  plot.tabIndex = isLarger ? 0 : -1;
}
for (const figure of document.querySelectorAll("figure.chart")) {
  drawChart(figure).catch((error) => {
    figure.dataset.state = "failed";
    figure.querySelector(".plot").textContent = `This chart could not be drawn: ${error.message}`;
    console.error(error);
  });
}
// Paper has nothing to click: what is folded is opened for it, and folded again.
let folded = [];
window.addEventListener("beforeprint", () => {
  folded = [...document.querySelectorAll("#experiments details:not([open])")];
  for (const part of folded) part.open = true;
});
window.addEventListener("afterprint", () => {
  for (const part of folded) part.open = false;
});
