"use strict";
// Everything shown comes in through textContent: nothing of the data is ever read as HTML.
const data = JSON.parse(document.getElementById("page-data").textContent);
const make = (tag, text, kind) => {
  const element = document.createElement(tag);
  if (text !== undefined && text !== null) element.textContent = text;
  if (kind) element.className = kind;
  return element;
};

// --- sorting and filtering -------------------------------------------------------------------------------------------
const valueOf = (row, column) => {
  const cell = row.cells[column];
  const value = cell.dataset.v ?? cell.textContent;
  return value !== "" && !isNaN(value) ? Number(value) : value;
};
const order = (a, b) => {
  if (a === "" || b === "") return a === b ? 0 : a === "" ? 1 : -1;
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
};
for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = make("button", head.textContent);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") === "descending" || (!head.hasAttribute("aria-sort") && !head.classList.contains("n"));
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const body = table.tBodies[0];
      closeAll(body);
      const rows = [...body.rows].map((row) => [valueOf(row, column), row]);
      rows.sort((a, b) => (up ? 1 : -1) * order(a[0], b[0]));
      body.append(...rows.map((pair) => pair[1]));
    });
  });
}
const trades = document.getElementById("trades");
const filter = document.getElementById("filter");
filter?.addEventListener("input", () => {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  closeAll(trades.tBodies[0]);
  for (const row of trades.tBodies[0].rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
});

// --- why: the decisions behind a trade -------------------------------------------------------------------------------
const show = (value) =>
  value === null ? "unknown" : typeof value === "number" ? Number(value.toPrecision(6)).toLocaleString("en-US", { maximumFractionDigits: 6 }) : String(value);
const VERDICTS = ["no", "yes", "unknown"];
function decisionsOf(index) {
  const box = make("div");
  box.append(make("p", data.why.about[index]));
  for (const [stage, outcome, decided, value, evidence] of data.why.trades[index]) {
    const by = decided === null ? "" : ` by ${decided}`;
    box.append(make("h4", `${stage.replace("_", " ")}: ${outcome}${by}` + (value === null ? "" : `, ${show(value)}`)));
    const table = make("table");
    for (const [number, verdict, facts] of evidence) {
      const [rule, text, names, isValue] = data.why.rules[number];
      const row = table.insertRow();
      if (rule === decided) row.className = "decided";
      row.append(make("td", rule), make("td"), make("td", isValue ? show(verdict) : VERDICTS[verdict]),
        make("td", names.map((name, at) => `${name} ${show(facts[at])}`).join(", ")));
      row.cells[1].append(make("code", text));
    }
    box.append(table);
  }
  return box;
}
function closeAll(body) {
  for (const row of [...body.querySelectorAll("tr.why")]) row.remove();
  for (const button of body.querySelectorAll("[aria-expanded=true]")) button.setAttribute("aria-expanded", "false");
}
function toggle(button) {
  const row = button.closest("tr");
  if (button.getAttribute("aria-expanded") === "true") {
    row.nextElementSibling.remove();
    button.setAttribute("aria-expanded", "false");
    return;
  }
  const detail = make("tr", null, "why");
  const cell = make("td");
  cell.colSpan = row.cells.length;
  cell.append(decisionsOf(Number(row.dataset.trade)));
  detail.append(cell);
  row.after(detail);
  button.setAttribute("aria-expanded", "true");
}
trades?.addEventListener("click", (event) => {
  const button = event.target.closest("button[aria-expanded]");
  if (button) toggle(button);
});
document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-open]");
  if (!link) return;
  event.preventDefault();
  const row = trades.querySelector(`tr[data-trade="${Number(link.dataset.open)}"]`);
  row.hidden = false;
  const button = row.querySelector("button");
  if (button.getAttribute("aria-expanded") !== "true") toggle(button);
  row.scrollIntoView({ block: "center" });
});

// --- hovering --------------------------------------------------------------------------------------------------------
const tip = make("div");
tip.id = "tip";
tip.hidden = true;
document.body.append(tip);
function tell(event, text) {
  tip.textContent = text;
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = Math.max(4, Math.min(event.clientX + 14, innerWidth - box.width - 6)) + "px";
  tip.style.top = Math.max(4, event.clientY - box.height - 12) + "px";
}
const money = (value) => value.toLocaleString("en-US", { maximumFractionDigits: 0 });
const percent = (value) => (value * 100).toFixed(2) + "%";
const timed = [...document.querySelectorAll("[data-chart=equity], [data-chart=drawdown], [data-chart=exposure]")];
const cursors = timed.map((chart) => {
  const cursor = make("div", null, "cursor");
  cursor.hidden = true;
  chart.append(cursor);
  return cursor;
});
const placeOf = (event, chart) => {
  const box = chart.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height, box];
};
const hide = () => {
  tip.hidden = true;
  for (const cursor of cursors) cursor.hidden = true;
};
for (const chart of timed) {
  chart.addEventListener("pointermove", (event) => {
    const days = data.days;
    const at = Math.max(0, Math.min(days.length - 1, Math.round(placeOf(event, chart)[0] * (days.length - 1))));
    for (const cursor of cursors) {
      cursor.hidden = false;
      cursor.style.left = (days.length > 1 ? (at / (days.length - 1)) * 100 : 50) + "%";
    }
    tell(event, `${days[at]}\nequity ${money(data.equity[at])}, benchmark ${money(data.benchmark[at])}\n` +
      `drawdown ${percent(data.drawdown[at])}, long ${percent(data.long[at])}, short ${percent(data.short[at])}\n${data.regimes[at]}`);
  });
  chart.addEventListener("pointerleave", hide);
}
for (const chart of document.querySelectorAll("[data-chart=mae], [data-chart=mfe]")) {
  const points = data.scatter[chart.dataset.chart];
  chart.addEventListener("pointermove", (event) => {
    const [x, y, box] = placeOf(event, chart);
    let nearest = null, least = 400;
    points.forEach(([a, b], number) => {
      const away = ((a / 1000 - x) * box.width) ** 2 + ((b / 1000 - y) * box.height) ** 2;
      if (away < least) [nearest, least] = [number, away];
    });
    if (nearest === null) return hide();
    tell(event, data.scatter.names[nearest]);
  });
  chart.addEventListener("pointerleave", hide);
}
