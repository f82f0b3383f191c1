// One slider for the guidance scale, from the plain prompt over the preference in the prompt on.
// Knows what each of its stops sends to the server, and nothing about answers.
//
// 0 is the plain prompt, 1 the preference in the prompt, and more than that strengthens it, under
// the guards of one preset. The presets are marks where their scales are.

import { element, short } from "./text.js";

const SCALES = [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 5];
const GUARDED = "balanced";
const NEAR = 1e-6;
const GIVEN = {
  max_guidance: "scale at most",
  min_plausibility: "least plausibility",
};

/** The slider's stops, weakest first: { name, summary, budget, target, scale,
 * fields }. */
export function stopsOf({ presets, default_preset: fallback, default_strength: standard }) {
  const names = presets.map((preset) => preset.name);
  const base = names.includes(GUARDED) ? GUARDED : (fallback ?? names[0]);
  const stops = presets.map((preset) => ({
    scale: preset.guidance_scale,
    budget: preset.kl_budget,
    target: preset.kl_target,
    name: preset.name,
    summary: preset.summary,
    fields: { preset: preset.name },
  }));
  for (const scale of SCALES) {
    if (!stops.some((stop) => isNear(stop.scale, scale))) add(stops, base, scale);
  }
  if (standard) add(stops, base, standard.guidance_scale, standard.kl_budget, standard.kl_target);
  return stops.sort((a, b) => a.scale - b.scale);
}

/** Adds a stop unless there is one of this scale, budget and target. */
function add(stops, base, scale, budget, target) {
  if (stops.some((stop) => same(stop, scale, budget, target))) return;
  const fields = { preset: base, guidance_scale: scale };
  if (budget > 0) fields.kl_budget = budget;
  if (target > 0) fields.kl_target = target;
  const name = { 0: "plain", 1: "prompted" }[scale] ?? "";
  stops.push({ scale, budget, target, name, summary: summaryOf(scale, base), fields });
}

function same(stop, scale, budget, target) {
  return isNear(stop.scale, scale) && isNear(stop.budget, budget) && isNear(stop.target, target);
}

function isNear(a, b) {
  return Math.abs((a ?? 0) - (b ?? 0)) < NEAR;
}

/** The stop that holds for a request which says nothing about strength. */
export function defaultStop(stops, { default_preset: preset, default_strength: standard }) {
  const own = stops.findIndex((stop) =>
    same(stop, standard?.guidance_scale, standard?.kl_budget, standard?.kl_target),
  );
  if (own >= 0) return own;
  const byName = stops.findIndex((stop) => stop.name === preset);
  return byName >= 0 ? byName : stops.length - 1;
}

function summaryOf(scale, base) {
  if (scale === 0) return "the preference has no part in the answer";
  if (scale === 1) return "the preference is asked for, and no more than that";
  if (scale > 1) return `with the guards of ${base}`;
  return "between the plain prompt and the prompt with the preference";
}

/** Whether a stop is a preset as it stands, whose summary says what its target does. */
function isPreset(fields) {
  return fields.guidance_scale === undefined;
}

/** The exact values of a stop, for people. */
function valuesOf({ budget, target, scale, fields }) {
  const within = budget > 0 ? `, KL budget ${budget.toFixed(2)} nats` : "";
  const aim = target > 0 && !isPreset(fields) ? `, KL target ${short(target)} nats` : "";
  return scale === undefined ? "" : `guidance scale ${short(scale)}${within}${aim}`;
}

export class Strength {
  #stops = [];
  #touched = false;
  #own = {};

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
    this.#own = amulet.default_strength?.given ?? {};
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

  /** What the server's flags set besides, as long as its default is left alone. */
  get #given() {
    const own = Object.entries(GIVEN).filter(([field]) => !this.#touched && field in this.#own);
    return own.map(([field, words]) => `; ${words} ${short(this.#own[field])}`).join("");
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
    value.textContent = stop.name || values;
    const about = stop.summary.includes(values) ? stop.summary : `${values}: ${stop.summary}`;
    note.textContent = about + this.#given;
    range.setAttribute("aria-valuetext", stop.name ? `${stop.name}, ${values}` : values);
    for (const mark of marks.children) {
      mark.setAttribute("aria-pressed", String(mark.dataset.stop === range.value));
    }
  }
}
