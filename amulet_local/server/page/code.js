// A request as a command and as a program. Knows nothing about the page.

const OWN = ["preference", "avoid", "preset", "guidance_scale", "kl_budget", "method"];

/** For a POSIX shell: between single quotes nothing has a meaning but the quote itself. */
function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** A JSON value in Python. Texts are the same in both. */
function python(value, indent = "") {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const inside = `${indent}    `;
  const items = Array.isArray(value)
    ? value.map((item) => python(item, inside))
    : Object.entries(value).map(([name, item]) => `${JSON.stringify(name)}: ${python(item, inside)}`);
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  const line = `${open}${items.join(", ")}${close}`;
  if (line.length + indent.length <= 88 && !line.includes("\n")) return line;
  return `${open}\n${items.map((item) => `${inside}${item},\n`).join("")}${indent}${close}`;
}

/** base: the address of the API, "http://127.0.0.1:8080/v1". */
export function asCurl(body, base, hasKey) {
  const lines = [`curl ${quoted(`${base}/chat/completions`)}`, "-H 'Content-Type: application/json'"];
  if (hasKey) lines.push('-H "Authorization: Bearer $AMULET_API_KEY"');
  lines.push(`-d ${quoted(JSON.stringify(body, null, 2))}`);
  return lines.join(" \\\n  ");
}

export function asPython(body, base, hasKey) {
  const known = Object.entries(body).filter(([name]) => !OWN.includes(name));
  const own = Object.fromEntries(Object.entries(body).filter(([name]) => OWN.includes(name)));
  const values = known.map(([name, value]) => `    ${name}=${python(value, "    ")},\n`);
  if (Object.keys(own).length) values.push(`    extra_body=${python(own, "    ")},\n`);
  const key = hasKey ? 'os.environ["AMULET_API_KEY"]' : '"none"';
  return `${hasKey ? "import os\n\n" : ""}from openai import OpenAI

client = OpenAI(base_url=${JSON.stringify(base)}, api_key=${key})
answer = client.chat.completions.create(
${values.join("")})
print(answer.choices[0].message.content)
`;
}
