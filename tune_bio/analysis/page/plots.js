"use strict";
// Learning curves and hyperparameters, drawn by BokehJS. Trials are numbered as in the leaderboard.
(() => {
  const element = document.getElementById("plots");
  if (!element) return;
  const data = JSON.parse(element.textContent);
  const count = data.trials.length;
  const BEST = ["--blue", "--orange", "--green", "--purple", "--red"];
  const STATUS = {
    completed: "--blue", stopped_early: "--orange", diverged: "--purple", failed: "--red",
    interrupted: "--quiet", running: "--green",
  };
  const LOG_FROM = 5; // ratio of the largest to the smallest loss from which the axis is logarithmic
  // On a touch screen a drag scrolls the page unless zooming is selected in a plot's toolbar.
  const DRAG = matchMedia("(pointer: coarse)").matches ? null : "box_zoom";
  const nan = (values) => values.map((value) => (value === null ? NaN : value));
  let shown = Array(count).fill(true);
  let marked = [];
  let drawing = Promise.resolve();

  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    return (name) => style.getPropertyValue(name).trim();
  };
  const scored = data.score.filter((score) => score !== null).length;
  const columns = {
    trial: data.trials,
    configuration: data.configuration,
    status: data.status.map((status) => status.replace("_", " ")),
    score: nan(data.score),
  };
  const TOOLTIPS = [["trial", "@trial"], ["", "@configuration"], ["best", "@score{0.0000}"], ["", "@status"]];

  const axes = (figure, colour) => {
    figure.background_fill_alpha = 0;
    figure.border_fill_alpha = 0;
    figure.outline_line_color = colour("--line");
    figure.toolbar.logo = null;
    for (const axis of [...figure.xaxes, ...figure.yaxes]) {
      axis.axis_label_text_color = colour("--quiet");
      axis.major_label_text_color = colour("--quiet");
      axis.axis_line_color = colour("--line");
      axis.major_tick_line_color = colour("--line");
      axis.minor_tick_line_color = null;
      axis.axis_label_text_font_style = "normal";
    }
    for (const grid of [...figure.xgrids, ...figure.ygrids]) grid.grid_line_color = colour("--line");
  };

  // Each figure has separate models, since Bokeh ties a model to one document.
  let sources = [];
  let filters = [];
  let views = [];
  let quiet = false; // true while marks are set by code
  const pick = (source) => {
    if (quiet) return;
    marked = [...source.selected.indices];
    choose();
    document.dispatchEvent(new CustomEvent("picked", { detail: marked }));
  };
  const choose = () => {
    quiet = true;
    for (const source of sources) source.selected.indices = [...marked];
    quiet = false;
  };
  const watched = (values) => {
    const source = new Bokeh.ColumnDataSource({ data: { ...columns, ...values } });
    const filter = new Bokeh.BooleanFilter({ booleans: shown });
    sources.push(source);
    filters.push(filter);
    source.selected.properties.indices.change.connect(() => pick(source));
    return { source, view: new Bokeh.CDSView({ filter }) };
  };

  const curves = (colour) => {
    const name = document.getElementById("curve").value;
    const ys = data.curves[name].map(nan);
    const flat = ys.flat().filter(Number.isFinite);
    const [low, high] = flat.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
    const log = name.endsWith("loss") && low > 0 && high > LOG_FROM * low;
    const { source, view } = watched({
      xs: ys.map((y) => y.map((_, k) => k + 1)),
      ys,
      x: ys.map((y) => y.length || NaN),
      y: ys.map((y) => (y.length ? y[y.length - 1] : NaN)),
      colour: ys.map((_, k) => colour(k < Math.min(BEST.length, scored) ? BEST[k] : "--dim")),
      width: ys.map((_, k) => (k < BEST.length ? 2.2 : 1)),
    });
    const figure = Bokeh.Plotting.figure({
      height: 400, sizing_mode: "stretch_width", tools: "pan,box_zoom,wheel_zoom,tap,reset",
      active_drag: DRAG, x_axis_label: "epoch", y_axis_label: data.names[name],
      y_axis_type: log ? "log" : "linear",
    });
    const lines = figure.multi_line({ field: "xs" }, { field: "ys" }, {
      source, view, line_color: { field: "colour" }, line_width: { field: "width" },
      line_alpha: 0.85, nonselection_line_alpha: 0.12, selection_line_width: 3,
      hover_line_color: colour("--ink"),
    });
    figure.scatter({ field: "x" }, { field: "y" }, {
      source, view, size: 5, color: { field: "colour" }, nonselection_alpha: 0.12,
    });
    figure.add_tools(new Bokeh.HoverTool({ tooltips: TOOLTIPS, renderers: [lines], line_policy: "nearest" }));
    axes(figure, colour);
    figure.xaxes[0].ticker = new Bokeh.BasicTicker({ min_interval: 1, desired_num_ticks: 8 });
    return figure;
  };

  // Bokeh's default ticks overlap on short axes.
  const logTicks = (axis, values) => {
    const finite = values.filter(Number.isFinite);
    const [low, high] = [Math.min(...finite), Math.max(...finite)];
    const steps = high / low > 1000 ? [1] : high / low > 20 ? [1, 3] : [1, 2, 5];
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
      for (const step of steps) ticks.push(Number(`${step}e${power}`));
    }
    axis.ticker = new Bokeh.FixedTicker({ ticks });
    axis.major_label_overrides = new Map(
      ticks.map((tick) => [tick, tick < 0.01 ? tick.toExponential() : String(tick)]),
    );
  };

  // Equal categories are spread by a fixed pattern, the same on every load.
  const spread = (values) =>
    values.map((value, k) => (value === null ? NaN : [value, ((k * 0.618) % 1 - 0.5) * 0.5]));

  const panel = (spec, colour) => {
    const names = spec.scale === "names";
    const { source, view } = watched({
      value: names ? spread(spec.values) : nan(spec.values),
      colour: data.status.map((status) => colour(STATUS[status])),
    });
    const figure = Bokeh.Plotting.figure({
      height: 250, sizing_mode: "stretch_width", tools: "pan,box_zoom,wheel_zoom,tap,reset",
      active_drag: DRAG, x_axis_label: spec.name, y_axis_label: data.label,
      ...(names
        ? { x_range: new Bokeh.FactorRange({ factors: spec.factors }) }
        : { x_axis_type: spec.scale }),
    });
    figure.toolbar_location = null;
    const dots = figure.scatter({ field: "value" }, { field: "score" }, {
      source, view, size: 7, color: { field: "colour" }, alpha: 0.75, line_color: null,
      nonselection_alpha: 0.12, selection_alpha: 1,
    });
    figure.add_tools(new Bokeh.HoverTool({ tooltips: TOOLTIPS, renderers: [dots] }));
    axes(figure, colour);
    if (spec.scale === "log") logTicks(figure.xaxes[0], nan(spec.values));
    if (spec.scale === "linear") figure.xaxes[0].ticker = new Bokeh.BasicTicker({ desired_num_ticks: 4 });
    if (names && spec.factors.join("").length > 24) figure.xaxes[0].major_label_orientation = 0.5;
    return figure;
  };

  const show = async (figure, place) => {
    const element = document.createElement("div");
    place.replaceChildren(element);
    views.push(await Bokeh.Plotting.show(figure, element));
  };
  const clear = () => {
    for (const view of views) {
      const index = Bokeh.documents.indexOf(view.model.document);
      view.remove();
      if (index >= 0) Bokeh.documents.splice(index, 1);
    }
    sources = [];
    filters = [];
    views = [];
  };
  const drawCurves = async (colour) => show(curves(colour), document.getElementById("curve-plot"));
  const drawPanels = async (colour) => {
    const place = document.getElementById("panels");
    if (!place) return;
    place.replaceChildren(...data.panels.map(() => document.createElement("div")));
    for (const [k, spec] of data.panels.entries()) await show(panel(spec, colour), place.children[k]);
  };
  const draw = () => {
    drawing = drawing.then(async () => {
      const colour = colours();
      clear();
      await drawCurves(colour);
      await drawPanels(colour);
      choose();
      document.documentElement.dataset.drawn = String(performance.now());
    });
  };

  document.addEventListener("marked", (event) => {
    marked = event.detail;
    choose();
  });
  document.addEventListener("shown", (event) => {
    const visible = new Set(event.detail);
    shown = data.trials.map((_, k) => visible.has(k));
    for (const filter of filters) filter.booleans = shown;
  });
  document.getElementById("curve").addEventListener("change", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
})();
