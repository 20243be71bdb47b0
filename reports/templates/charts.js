// Draws every chart from the specification beside it; marks the holder, so that a test can wait.
window.dgpruneViews = {};
const config = JSON.parse(document.getElementById("chart-config").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");
async function drawChart(figure) {
  const spec = JSON.parse(figure.querySelector("script").textContent);
  const drawn = await window.vegaEmbed(figure.querySelector(".plot"), spec, {
    mode: "vega-lite",
    renderer: "svg",
    config,
    bind: figure.querySelector(".lists"),
    actions: { export: true, source: false, compiled: false, editor: false },
    downloadFileName: figure.id,
    tooltip: { theme: dark.matches ? "dark" : "light" },
  });
  window.dgpruneViews[figure.id] = drawn.view;
  figure.dataset.state = "drawn";
}
for (const figure of document.querySelectorAll("figure.chart")) {
  drawChart(figure).catch((error) => {
    figure.dataset.state = "failed";
    figure.querySelector(".plot").textContent = `This chart could not be drawn: ${error.message}`;
    console.error(error);
  });
}
