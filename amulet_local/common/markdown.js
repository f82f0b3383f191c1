// How the parts of a Markdown text look: its marks are hidden, what they mark gets a class.
// The server's page and the page of an explained answer share it. Knows nothing about tokens. The
// text stays what it is, so that it can be styled while it streams: what isn't closed yet on the
// last line counts as closed at its end.

const FENCE = /^ {0,3}(?:```|~~~)/;
const HEADING = /^#{1,6} +/;
const BULLET = /^( *)([-*+])(?= )/;
const ROW = /^ *\|/;
const RULE = /^ *\|(?: *:?-+:? *\|)+(?: *:?-+:?)? *$/;
const BAR = /(?:(?<! ) +)?\| */g;
const INLINE = /(`+)(?!`)(.+?)\1(?!`)|\*\*(?=\S)(.+?)\*\*|\*(?=[^\s*])([^*\n]+)\*/g;
const OPEN = /\*\*(?=\S)([^*\n]+)$|`([^`\n]+)$/;

/**
 * The text in pieces, [start, end, class], in order and without a gap. Classes: "" for plain text,
 * "mark" for what is hidden, "bullet", "bar" (between cells of a table), "b", "i", "h", "code" and
 * "pre", several with spaces.
 */
export function styled(text) {
  const found = [];
  const put = (start, end, kind) => {
    if (end > start) found.push([start, end, kind]);
  };
  let isFenced = false;
  let isTable = false;
  let start = 0;
  while (start < text.length) {
    const line = lineAt(text, start);
    const isLast = start + line.length === text.length;
    const next = start + line.length + (isLast ? 0 : 1);
    const isHeader = RULE.test(lineAt(text, next));
    isTable = !isFenced && ROW.test(line) && (isTable || isHeader);
    if (FENCE.test(line)) {
      isFenced = !isFenced;
      put(start, next, "mark");
    } else if (isFenced) {
      put(start, next, "pre");
    } else if (isTable && RULE.test(line)) {
      put(start, next, "mark");
    } else if (isTable) {
      cells(line, start, isHeader ? "b" : "", isLast, put);
      put(start + line.length, next, "");
    } else {
      const begun = start + block(line, start, put);
      const kind = HEADING.test(line) ? "h" : "";
      inline(text.slice(begun, start + line.length), begun, kind, isLast, put);
      put(start + line.length, next, "");
    }
    start = next;
  }
  return found;
}

function lineAt(text, start) {
  const stop = text.indexOf("\n", start);
  return text.slice(start, stop < 0 ? text.length : stop);
}

/** What a line begins with; how many characters that is. */
function block(line, start, put) {
  const heading = HEADING.exec(line);
  if (heading) {
    put(start, start + heading[0].length, "mark");
    return heading[0].length;
  }
  const bullet = BULLET.exec(line);
  if (!bullet) return 0;
  put(start, start + bullet[1].length, "");
  put(start + bullet[1].length, start + bullet[0].length, "bullet");
  return bullet[0].length;
}

/** A table's line: what is between its bars. */
function cells(line, start, kind, isLast, put) {
  let done = 0;
  for (const match of line.matchAll(BAR)) {
    inline(line.slice(done, match.index), start + done, kind, false, put);
    const bar = match.index + match[0].indexOf("|");
    done = match.index + match[0].length;
    put(start + match.index, start + bar, "mark");
    put(start + bar, start + bar + 1, match.index && done < line.length ? "bar" : "mark");
    put(start + bar + 1, start + done, "mark");
  }
  inline(line.slice(done), start + done, kind, isLast, put);
}

function inline(text, offset, kind, isLast, put) {
  let done = 0;
  for (const match of text.matchAll(INLINE)) {
    put(offset + done, offset + match.index, kind);
    done = match.index + match[0].length;
    const width = match[1]?.length ?? (match[3] === undefined ? 1 : 2);
    const inner = match[1] ? "code" : match[3] === undefined ? "i" : "b";
    put(offset + match.index, offset + match.index + width, "mark");
    put(offset + match.index + width, offset + done - width, `${kind} ${inner}`.trim());
    put(offset + done - width, offset + done, "mark");
  }
  const open = isLast ? OPEN.exec(text.slice(done)) : null;
  if (!open) {
    put(offset + done, offset + text.length, kind);
    return;
  }
  const at = done + open.index;
  const width = open[1] === undefined ? 1 : 2;
  put(offset + done, offset + at, kind);
  put(offset + at, offset + at + width, "mark");
  put(offset + at + width, offset + text.length, `${kind} ${open[1] ? "b" : "code"}`.trim());
}

/**
 * Shows a text as Markdown in the elements that hold it.
 * parts: { node, text, shown }, in order; what a node shows is made anew where that has changed,
 * which `shown`, "" at first, takes note of. A node that holds marks only gets the class md-gone.
 */
export function dress(parts) {
  const pieces = styled(parts.map(({ text }) => text).join(""));
  let start = 0;
  let at = 0;
  for (const part of parts) {
    const end = start + part.text.length;
    const shown = [];
    while (at < pieces.length && pieces[at][0] < end) {
      const [from, to, kind] = pieces[at];
      shown.push([part.text.slice(Math.max(from, start) - start, to - start), kind]);
      if (to > end) break;
      at += 1;
    }
    const key = JSON.stringify(shown);
    if (key !== part.shown && (part.shown || shown.some(([, kind]) => kind))) {
      part.node.replaceChildren(...shown.map(([text, kind]) => dressed(text, kind)));
      part.node.classList.toggle("md-gone", shown.every(([, kind]) => kind === "mark"));
      part.shown = key;
    }
    start = end;
  }
}

/** A piece of text in the look of its kinds. */
function dressed(text, kinds) {
  if (!kinds) return document.createTextNode(text);
  const made = document.createElement("span");
  made.className = kinds.replace(/\S+/g, "md-$&");
  made.textContent = text;
  return made;
}
