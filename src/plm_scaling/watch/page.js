// The page: asks for the state every few seconds and draws what has changed.

const EVERY_SECONDS = 2, COLOURS = 6, DASHES = [null, "7 4", "2 3"], FEW_CELLS = 40;
const AT_WORK = ["running", "starting", "queued", "stalled", "stopped", "failed"];
const byId = id => document.getElementById(id);
let state = null, tag = null, drawn = new Map(), asking = 0;
let picks = new URLSearchParams(location.hash.slice(1)).get("cells");
picks = picks === null ? null : picks.split(",").filter(Boolean);  // null: not chosen by hand
const shownCells = new Map();  // by study: which rows, as chosen by hand

const clock = seconds => new Date(seconds * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
const loss = value => value === null || value === undefined ? "–" : value.toFixed(4);
const percent = value => value === null || value === undefined ? "–" : `${Math.round(100 * value)} %`;
function lasting(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds >= 2 * 86400) return `${Math.round(seconds / 86400)} days`;
  const all = Math.max(0, Math.round(seconds)), pair = value => String(value).padStart(2, "0");
  const [hour, minute, second] = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60];
  return hour ? `${hour}:${pair(minute)}:${pair(second)}` : `${minute}:${pair(second)}`;
}
const nameOf = cell => `${cell.objective.toUpperCase()} ${cell.size} at ${power(cell.flops_budget)} FLOPs`;
const keyOf = (study, cell) => `${study.study}/${cell.cell}`;

// Of all cells of all studies, those whose curves are shown.
function picked() {
  if (picks !== null) return picks;
  const cells = state.studies.flatMap(study => study.cells.map(cell => [keyOf(study, cell), cell]));
  const running = cells.filter(([, cell]) => cell.state === "running");
  const ended = cells.filter(([, cell]) => cell.ended).sort((a, b) => b[1].ended - a[1].ended);
  return [...running, ...ended].slice(0, COLOURS).map(([key]) => key);
}

function pick(key, on) {
  picks = on ? [...picked(), key] : picked().filter(one => one !== key);
  keepPicks();
}

function keepPicks() {
  history.replaceState(null, "", picks === null ? "#" : `#cells=${picks.join(",")}`);
  ask();
}

// Draw into the element only when what it shows has changed: nobody loses the place or the focus.
function draw(id, told, build) {
  const text = JSON.stringify([told, byId(id).clientWidth]);
  if (drawn.get(id) === text) return;
  drawn.set(id, text);
  byId(id).replaceChildren(...build().filter(Boolean));
}

function skeleton(studies) {
  const names = JSON.stringify(studies.map(study => study.study));
  if (drawn.get("main") === names) return;
  drawn = new Map([["main", names]]);
  const sections = studies.map((study, number) => html("section", { "aria-label": study.study },
    studies.length > 1 ? html("h2", {}, study.study) : null,
    ...["tiles", "curves", "laws", "cells", "forecasts"].map(part => html("div", { id: `${part}-${number}` }))));
  byId("main").replaceChildren(html("div", { id: "workflow" }), html("div", { id: "failed" }), ...sections);
}

function tile(name, value, bad) {
  return html("div", { class: bad ? "bad" : null }, name, html("strong", {}, value));
}

function drawTiles(id, study) {
  const count = name => study.cells.filter(cell => cell.state === name).length;
  const left = study.time_left;
  draw(id, [study.totals, study.time_left_lines, left, study.problem, study.report], () => study.problem ? [html("p", { class: "finding unsound" }, study.problem)] : [
    html("div", { class: "tiles" },
      tile("cells finished", `${count("finished")} of ${study.cells.length}`),
      ...["running", "starting", "queued", "stalled", "stopped", "failed", "diverged"].filter(count).map(name =>
        tile(name, String(count(name)), ["stalled", "failed", "diverged"].includes(name))),
      tile("compute done", percent(study.share_done)),
      left && left.process_hours ? tile(`${left.of}-hours left`, short(left.process_hours)) : null,
      left && left.finish ? tile("all cells done about", clock(left.finish)) : null),
    html("div", { class: "bar", role: "progressbar", "aria-label": "compute done", "aria-valuemin": "0", "aria-valuemax": "100",
      "aria-valuenow": String(Math.round(100 * study.share_done)) }, html("i", { style: `width: ${100 * study.share_done}%` })),
    ...study.time_left_lines.slice(left && left.process_hours ? 1 : 0).map(line => html("p", { class: "soft" }, line)),
    study.report ? html("p", {}, "The report: ", html("code", {}, study.report)) : null]);
}

function drawWorkflow(workflow, lines, planned) {
  draw("workflow", [workflow, lines, planned], () => {
    const others = workflow.jobs.filter(job => job.rule !== "train_cell");
    const said = { "not started": "Snakemake has not run here yet.", ended: "No Snakemake is running here.", running: "Snakemake is running." };
    return [
      html("p", {}, said[workflow.state]),
      workflow.stages.length ? html("ol", { class: "stages", "aria-label": "stages of the last run" }, ...workflow.stages.map(stage => html("li", {
        class: stage.failed ? "bad" : stage.running ? "now" : stage.done === stage.jobs ? "done" : null },
        `${stage.name} ${stage.done}/${stage.jobs}`, stage.failed ? `, ${stage.failed} failed` : "",
        stage.left_seconds === null ? "" : `, about ${lasting(stage.left_seconds)} left`))) : null,
      others.length ? html("ul", { class: "said-by-jobs" }, ...others.slice(0, 12).map(job => html("li", {},
        html("code", {}, job.rule), ` ${job.output}`, job.said ? html("span", { class: "soft" }, ` ${job.said}`) : null))) : null,
      ...lines.map(line => html("p", { class: "soft" }, line)),
      planned ? null : html("p", { class: "soft" }, "No sweep is planned here yet: cells appear when Snakemake has planned them.")];
  });
}

function drawFailed(failed) {
  draw("failed", failed, () => failed.length ? [html("div", { class: "finding unsound failed", role: "region", "aria-label": "failed jobs" },
    html("p", { class: "what" }, `${failed.length} job${failed.length > 1 ? "s" : ""} failed`),
    html("ul", {}, ...failed.map(one => html("li", {}, html("code", {}, one.rule), ` ${one.output}: ${one.reason}`,
      one.log ? html("span", { class: "soft" }, " (", html("code", {}, one.log), ")") : null))))] : []);
}

function drawCurves(id, study) {
  const chosen = picked().map((key, number) => ({ key, number, cell: study.cells.find(cell => keyOf(study, cell) === key) })).filter(one => one.cell);
  const curves = chosen.map(one => state.curves[one.key]), all = picked().length;
  const cut = all > MOST_CURVES ? ` Of the ${all} chosen cells the first ${MOST_CURVES} are drawn.` : "";
  draw(id, [cut, chosen.map(one => [one.key, one.number, one.cell.state]), curves], () => {
    const series = [], key = [];
    chosen.forEach(({ cell, number }, index) => {
      const own = curves[index], colour = `var(--c${number % COLOURS})`, dash = DASHES[Math.floor(number / COLOURS) % DASHES.length];
      if (!own) return;
      if (own.forecast.length) series.push({ band: own.forecast.map(([x, , low, high]) => [x, low, high]), colour });
      if (own.train.length) series.push({ points: own.train.filter(([x]) => x > 0), colour, dash, thin: true });
      if (own.valid.length) series.push({ points: own.valid.filter(([x]) => x > 0).map(([x, y]) => [x, y, `${nameOf(cell)}: ${loss(y)} at ${short(x)} tokens`]), colour, dash, dots: 2.5 });
      key.push(html("li", {}, svg("svg", { viewBox: "0 0 32 12", "aria-hidden": "true" }, svg("path", { d: "M0,6H32", class: "line", "stroke-dasharray": dash, style: `stroke: ${colour}` })),
        ` ${nameOf(cell)}, seed ${cell.seed}`));
    });
    const some = series.filter(one => (one.points || one.band).length);
    return [html("h3", {}, "Curves"), html("figure", {}, some.length
      ? chart(byId(id).clientWidth, { label: "loss by tokens of the chosen cells", xLabel: "tokens", yLabel: "loss, nats/token", series: some })
      : html("p", { class: "soft" }, "No curve yet of the chosen cells."),
      html("ul", { class: "key" }, ...key),
      html("figcaption", {}, "Thick with points: held-out loss. Thin: training loss. Shaded: the forecast of the held-out loss, 95 %. Choose cells in the table below.", cut))];
  });
}

function drawLaws(id, study) {
  const forecasts = study.forecasts.filter(made => made.loss.status === "done");
  draw(id, [study.laws, forecasts], () => {
    const whole = byId(id).clientWidth, width = study.laws.length > 1 && whole >= 880 ? (whole - 24) / 2 : whole;
    return study.laws.length ? [html("h3", {}, "IsoFLOP curves and the law so far"),
      html("div", { class: "grid" }, ...study.laws.map(law => lawFigure(law, forecasts.filter(made => made.objective === law.objective), width)))] : [];
  });
}

function lawFigure(law, forecasts, width) {
  const series = [], marks = [], several = Math.max(law.minima.length - 1, 1);
  law.minima.forEach((row, number) => {
    const share = Math.round(100 * number / several), colour = `color-mix(in oklab, var(--orange) ${share}%, var(--blue))`;
    const title = run => `${short(run.n_params)} parameters, ${power(row.flops)} FLOPs: ${loss(run.loss)}`;
    const runs = row.runs.map(run => [run.n_params, run.loss, title(run)]).sort((a, b) => a[0] - b[0]);
    series.push({ points: runs, colour, dots: 3.5, bare: true, label: power(row.flops) });
    if (row.coefficients) {
      const [low, high] = row.n_params_range.map(Math.log), [c0, c1, c2] = row.coefficients, points = [];
      for (let k = 0; k <= 40; k++) {
        const x = low + (high - low) * k / 40;
        points.push([Math.exp(x), c0 + c1 * x + c2 * x * x]);
      }
      series.push({ points, colour, dash: row.status === "accepted" ? null : "4 4" });
    }
    if (row.n_params) marks.push({ x: row.n_params, y: row.loss, colour, hollow: true, title: `best size at ${power(row.flops)} FLOPs: ${short(row.n_params)}` });
  });
  for (const made of forecasts) marks.push({ x: made.n_params, y: made.loss.predicted, low: made.loss.low, high: made.loss.high,
    colour: "var(--soft)", title: `forecast of ${short(made.n_params)} at ${power(made.flops_budget)} FLOPs: ${loss(made.loss.low)} to ${loss(made.loss.high)}` });
  const refused = law.minima.filter(row => row.reason);
  return html("figure", {},
    html("p", { class: "law" }, law.status === "converged" ? "" : html("span", { class: "flag" }, `Not yet a law (${law.status.replaceAll("_", " ")}). `), `So far: ${law.sentence}`),
    chart(width, { label: `loss by size, ${law.objective}`, xLabel: "parameters (non-embedding)", yLabel: `${law.objective.toUpperCase()} loss, nats/token`, series, marks }),
    html("figcaption", {}, "A curve for each compute budget (FLOPs). Diamond of its colour: its minimum; dashed: no minimum counts. Grey diamond and bar: forecast of a cell, 95 %."),
    refused.length || law.warnings.length ? html("details", {}, html("summary", {}, "What it does not know yet"),
      html("ul", {}, ...refused.map(row => html("li", {}, `${power(row.flops)} FLOPs: ${row.reason}`)), ...law.warnings.map(text => html("li", {}, text)))) : null);
}

const COLUMNS = [
  ["cell", cell => cell.cell], ["objective", cell => cell.objective], ["size", cell => cell.size],
  ["FLOPs", cell => power(cell.flops_budget), "n"], ["state", cell => cell.state],
  ["tokens", cell => `${short(cell.tokens)} of ${short(cell.tokens_planned)}`, "n"],
  ["done", cell => percent(cell.tokens / cell.tokens_planned), "n"], ["loss", cell => loss(cell.loss), "n"],
  ["tokens/s", cell => short(cell.tokens_per_second), "n"], ["MFU", cell => percent(cell.utilisation), "n", cell => cell.utilisation !== null],
  ["left", cell => lasting(cell.eta_seconds), "n"], ["against forecast", cell => cell.against_forecast, "", cell => cell.against_forecast],
  ["Slurm", cell => cell.slurm, "", cell => cell.slurm], ["why", cell => cell.reason, "why", cell => cell.reason]];

function drawCells(id, study) {
  if (!study.cells.length) return;
  const columns = COLUMNS.filter(([, , , known]) => !known || study.cells.some(known));
  const working = study.cells.some(cell => AT_WORK.includes(cell.state));
  const which = shownCells.get(study.study) || (study.cells.length > FEW_CELLS && working ? "at work" : "all");
  draw(id, [columns.map(column => column[0]), study.cells.map(cell => cell.cell)], () => [
    html("h3", {}, "Cells"), html("div", { class: "controls" },
      html("label", {}, "Show ", choice(study, which)),
      button("Compare none", () => { picks = []; keepPicks(); }), button("Compare those at work", () => { picks = null; keepPicks(); })),
    html("div", { class: "table cells", tabindex: "0", role: "region", "aria-label": "cells" }, html("table", {},
      html("thead", {}, html("tr", {}, html("th", { scope: "col" }, "compare"), ...columns.map(([name, , kind]) => html("th", { scope: "col", class: kind }, name)))),
      html("tbody", {}, ...study.cells.map(cell => row(study, cell, columns)))))]);
  const chosen = new Set(picked());
  const rows = byId(id).querySelectorAll("tbody tr");
  study.cells.forEach((cell, number) => {
    const [box, ...fields] = rows[number].children, key = keyOf(study, cell);
    box.firstChild.checked = chosen.has(key);
    columns.forEach(([, value, kind], index) => {
      const text = value(cell) || "", field = fields[index];
      if (field.textContent !== text) field.textContent = text;
    });
    fields[columns.findIndex(column => column[0] === "state")].className = `state-${cell.state}`;
    const group = AT_WORK.includes(cell.state) ? "at work" : cell.state;
    rows[number].hidden = which !== "all" && which !== group && !chosen.has(key);
  });
}

function row(study, cell, columns) {
  const box = html("input", { type: "checkbox", "aria-label": `compare ${nameOf(cell)}` });
  box.addEventListener("change", () => pick(keyOf(study, cell), box.checked));
  return html("tr", {}, html("td", {}, box), ...columns.map(([, , kind]) => html("td", { class: kind })));
}

function choice(study, which) {
  const select = html("select", {}, ...["all", "at work", "finished", "diverged", "waiting"].map(name => html("option", { selected: name === which }, name)));
  select.addEventListener("change", () => { shownCells.set(study.study, select.value); show(); });
  return select;
}

function button(text, act) {
  const made = html("button", { type: "button" }, text);
  made.addEventListener("click", act);
  return made;
}

function drawForecasts(id, study) {
  const cells = new Map(study.cells.map(cell => [cell.cell, cell]));
  const rows = study.forecasts.map(made => {
    const cell = cells.get(made.cell), size = made.best_size;
    return [made.objective, made.size, power(made.flops_budget),
      made.loss.status === "done" ? `${loss(made.loss.predicted)} (${loss(made.loss.low)} to ${loss(made.loss.high)})` : made.loss.why,
      cell ? `${loss(cell.loss)} ${cell.state}` : "", cell ? cell.against_forecast : "",
      size.status === "done" ? `${short(size.predicted)} (${short(size.low)} to ${short(size.high)})` : size.why];
  });
  const names = ["objective", "size", "FLOPs", "loss forecast, 95 %", "loss now", "against forecast", "best size forecast, 95 %"];
  draw(id, rows, () => rows.length ? [html("h3", {}, "Forecasts, made before the cell began"), html("div", { class: "table", tabindex: "0", role: "region", "aria-label": "forecasts" },
    html("table", {}, html("thead", {}, html("tr", {}, ...names.map(name => html("th", { scope: "col" }, name)))),
      html("tbody", {}, ...rows.map(fields => html("tr", {}, ...fields.map(text => html("td", {}, text)))))))] : []);
}

function show() {
  skeleton(state.studies);
  drawWorkflow(state.workflow, [...state.slurm, ...state.notes], state.studies.length > 0);
  drawFailed(state.failed);
  state.studies.forEach((study, number) => {
    drawTiles(`tiles-${number}`, study);
    drawCurves(`curves-${number}`, study);
    drawLaws(`laws-${number}`, study);
    drawCells(`cells-${number}`, study);
    drawForecasts(`forecasts-${number}`, study);
  });
}

// Say `problem` at the top, or nothing.
function trouble(problem) {
  byId("problem").hidden = !problem;
  if (byId("problem").textContent !== problem) byId("problem").textContent = problem;
}

async function ask() {
  const own = ++asking;  // a later question makes an earlier answer worthless
  const address = `state.json?curves=${(state ? picked() : picks || []).map(encodeURIComponent).join(",")}`;
  let answer = null, said = "";
  try {
    answer = await fetch(address, { headers: tag && tag[0] === address ? { "If-None-Match": tag[1] } : {} });
    said = await answer.text();
  } catch {
    answer = null;
  }
  if (own !== asking) return;
  clearTimeout(ask.timer);
  ask.timer = setTimeout(ask, 1000 * EVERY_SECONDS);
  if (answer === null) return trouble("plm-scaling watch does not answer any more: it was ended, or the connection is lost. What is below is old.");
  if (!answer.ok && answer.status !== 304) return trouble(said);
  trouble("");
  if (answer.status !== 304) {
    const first = state === null;
    state = JSON.parse(said);
    tag = [address, answer.headers.get("ETag")];
    show();
    if (first) return ask();  // now it is known whose curves to ask for
  }
  byId("updated").textContent = `${state.folder}: ${state.ended ? "nothing runs; " : ""}read at ${new Date().toLocaleTimeString()}`;
}

addEventListener("resize", () => { if (state) show(); });
ask();
