// One slider from the plain prompt over the preference in the prompt to the strongest preset.
// Knows what each of its stops sends to the server, and nothing about answers.
//
// Up to 1 it is the guidance scale itself: 0 is the plain prompt, 1 the preference in the prompt.
// From there on it is a KL budget, which means the same on every model, under the ceiling and with
// the guards of one preset. At its end are the presets that have no budget.

import { element, short } from "./text.js";

const SCALES = [0, 0.25, 0.5, 0.75, 1];
const BUDGETS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2];
const GUARDED = "balanced";
const NEAR = 1e-6;

/** The slider's stops, weakest first: { name, summary, budget, scale, fields }. */
export function stopsOf({ presets, default_preset: fallback, default_strength: standard }) {
  const names = presets.map((preset) => preset.name);
  const base = names.includes(GUARDED) ? GUARDED : (fallback ?? names[0]);
  const ceiling = presets.find((preset) => preset.name === base)?.guidance_scale;
  const stops = SCALES.map((scale) => ({
    scale,
    budget: null,
    name: { 0: "plain", 1: "prompted" }[scale] ?? "",
    summary: summaryOf(scale),
    fields: { preset: base, guidance_scale: scale },
  }));
  const budgets = [...BUDGETS, ...presets.map((preset) => preset.kl_budget)];
  budgets.push(standard?.kl_budget);
  const sorted = budgets.filter((value) => value > 0).sort((a, b) => a - b);
  sorted
    .filter((value, i) => i === 0 || value - sorted[i - 1] > NEAR)
    .forEach((budget) => {
      const preset = presets.find((one) => Math.abs((one.kl_budget ?? 0) - budget) < NEAR);
      stops.push({
        budget,
        scale: preset?.guidance_scale ?? ceiling,
        name: preset?.name ?? "",
        summary: preset?.summary ?? `with the guards of ${base}`,
        fields: preset ? { preset: preset.name } : { preset: base, kl_budget: budget },
      });
    });
  for (const preset of presets.filter((one) => !(one.kl_budget > 0))) {
    const { name, summary, guidance_scale: scale } = preset;
    stops.push({ budget: null, scale, name, summary, fields: { preset: name } });
  }
  return stops;
}

/** The stop that holds for a request which says nothing about strength. */
export function defaultStop(stops, { default_preset: preset, default_strength: standard }) {
  const byBudget = stops.findIndex((stop) => Math.abs(stop.budget - standard?.kl_budget) < NEAR);
  if (standard?.kl_budget > 0 && byBudget >= 0) return byBudget;
  const byName = stops.findIndex((stop) => stop.name === preset);
  return byName >= 0 ? byName : stops.length - 1;
}

function summaryOf(scale) {
  if (scale === 0) return "the preference has no part in the answer";
  if (scale === 1) return "the preference is asked for, and no more than that";
  return "between the plain prompt and the prompt with the preference";
}

/** The exact values of a stop, for people. */
function valuesOf({ budget, scale }) {
  if (budget) {
    const most = scale === undefined ? "" : `, guidance ≤ ${short(scale)}`;
    return `KL budget ${budget.toFixed(2)} nats${most}`;
  }
  return scale === undefined ? "" : `guidance scale ${short(scale)}`;
}

export class Strength {
  #stops = [];
  #touched = false;

  /** parts: the elements range, marks, value and note. */
  constructor(parts, onChange) {
    this.parts = parts;
    this.onChange = onChange;
    parts.range.addEventListener("input", () => {
      this.#touched = true;
      this.#show();
      onChange();
    });
  }

  /** amulet: what /props says. A second time what was set stays. */
  load(amulet) {
    const before = this.#stops.length;
    this.#stops = stopsOf(amulet);
    const { range, marks } = this.parts;
    range.max = this.#stops.length - 1;
    this.#touched &&= before === this.#stops.length;
    if (!this.#touched) range.value = defaultStop(this.#stops, amulet);
    range.disabled = false;
    marks.replaceChildren(
      ...this.#stops.flatMap((stop, i) => (stop.name ? [this.#mark(stop, i)] : [])),
    );
    this.#show();
  }

  /** For a request or a change of one: nothing as long as the server's default is left alone. */
  get fields() {
    return this.#touched ? this.#stops[this.parts.range.value].fields : {};
  }

  #mark(stop, i) {
    const mark = element("button", "mark", stop.name);
    mark.type = "button";
    mark.title = `${stop.summary} (${valuesOf(stop)})`;
    mark.dataset.stop = i;
    const last = this.#stops.length - 1;
    mark.style.setProperty("--at", i / last);
    mark.addEventListener("click", () => {
      this.parts.range.value = i;
      this.#touched = true;
      this.#show();
      this.onChange();
    });
    return mark;
  }

  #show() {
    const { range, marks, value, note } = this.parts;
    const stop = this.#stops[range.value];
    const values = valuesOf(stop);
    value.textContent = stop.name || (stop.budget ? `KL ${stop.budget.toFixed(2)}` : values);
    note.replaceChildren(values, element("span", "about", `: ${stop.summary}`));
    range.setAttribute("aria-valuetext", stop.name ? `${stop.name}, ${values}` : values);
    for (const mark of marks.children) {
      mark.setAttribute("aria-pressed", String(mark.dataset.stop === range.value));
    }
  }
}
