// The filter: a line of words and `key:value`, and which findings it lets through.

const keys = ["in", "port", "state", "severity", "kind", "owner", "is", "group"];

// Pieces of the line: { not, key, value }.
function parse(line) {
  const pieces = [];
  for (const found of line.matchAll(/(-?)(?:([a-z]+):)?(?:"([^"]*)"?|(\S+))/gi)) {
    let [whole, not, key, quoted, plain] = found;
    let value = quoted ?? plain;
    key = key?.toLowerCase();
    // A colon in an address or a time is no key.
    if (key && !keys.includes(key)) {
      value = whole.slice(not.length).replace(/"/g, "");
      key = undefined;
    }
    if (value || key) pieces.push({ not: not === "-", key, value: value.toLowerCase() });
  }
  return pieces;
}

function write(pieces) {
  return pieces
    .map(({ not, key, value }) =>
      (not ? "-" : "") + (key ? `${key}:` : "") + (/\s/.test(value) ? `"${value}"` : value))
    .join(" ");
}

// An address as a number and its width in bits; null for what is none.
function address(text) {
  if (text.includes(":")) {
    const tail = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
    if (tail) {
      const v4 = address(tail[2]);
      if (!v4) return null;
      const n = Number(v4.n);
      text = `${tail[1]}${(n >>> 16).toString(16)}:${(n & 0xffff).toString(16)}`;
    }
    const halves = text.split("::");
    if (halves.length > 2) return null;
    const parts = halves.map((half) => (half ? half.split(":") : []));
    const given = parts.reduce((n, part) => n + part.length, 0);
    if (halves.length === 1 ? given !== 8 : given > 7) return null;
    const all = [...parts[0], ...Array(8 - given).fill("0"), ...(parts[1] || [])];
    if (!all.every((part) => /^[0-9a-f]{1,4}$/i.test(part))) return null;
    return { n: all.reduce((n, part) => (n << 16n) | BigInt(parseInt(part, 16)), 0n), bits: 128 };
  }
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((p) => /^\d{1,3}$/.test(p) && Number(p) < 256)) return null;
  return { n: BigInt(parts.reduce((n, part) => n * 256 + Number(part), 0)), bits: 32 };
}

let v4 = null;
const v6 = new Map();

// The addresses as numbers, made when the first CIDR is asked for.
function addresses() {
  if (v4) return;
  v4 = new Float64Array(total).fill(-1);
  for (let i = 0; i < total; i += 1) {
    const a = address(rows.ip[i]);
    if (a && a.bits === 32) v4[i] = Number(a.n);
    else if (a) v6.set(i, a.n);
  }
}

function within(value) {
  const [ip, prefix, rest] = value.split("/");
  const a = address(ip);
  if (!a || rest !== undefined || (prefix !== undefined && !/^\d{1,3}$/.test(prefix))) return null;
  const length = prefix === undefined ? a.bits : Number(prefix);
  if (length > a.bits) return null;
  addresses();
  const size = 1n << BigInt(a.bits - length);
  const first = a.n - (a.n % size);
  if (a.bits === 32) {
    const low = Number(first);
    const high = low + Number(size);
    return (i) => v4[i] >= low && v4[i] < high;
  }
  return (i) => v6.has(i) && v6.get(i) >= first && v6.get(i) < first + size;
}

function ports(value) {
  const list = value.split(",").map((part) => /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part));
  if (list.some((found) => !found)) return null;
  const ranges = list.map((found) => [Number(found[1]), Number(found[2] ?? found[1])]);
  return (i) => rows.port[i] > 0 && ranges.some(([a, b]) => rows.port[i] >= a && rows.port[i] <= b);
}

function oneOf(list, column) {
  return (value) => {
    const n = list.indexOf(value);
    return n < 0 ? null : (i) => column[i] === n;
  };
}

const marks = { new: NEW, acknowledged: ACKNOWLEDGED, ack: ACKNOWLEDGED, flapping: FLAPPING, back: BACK, drift: DRIFT };
let lower = null;

// The numbers of the texts that a test lets through. Each text stands once, so it is read once.
function texts(test) {
  if (!lower) lower = data.text.map((text) => text.toLowerCase());
  return Uint8Array.from(lower, (text) => (test(text) ? 1 : 0));
}

function word(value) {
  const hit = texts((text) => text.includes(value));
  // Addresses and ids have these characters only.
  const place = /^[0-9a-f.:[\]/a-z-]+$/.test(value);
  return (i) => {
    if (hit[rows.what[i]] || hit[rows.resource[i]] || hit[rows.owner[i]] || hit[rows.service[i]] || hit[rows.why[i]]) return true;
    if (place && (endpoint(i).includes(value) || rows.id[i].includes(value))) return true;
    const details = rows.details[i];
    for (let d = 1; d < details.length; d += 2) if (hit[details[d]]) return true;
    return false;
  };
}

const tests = {
  in: within,
  port: ports,
  state: oneOf(data.states.map((s) => s[0]), rows.state),
  severity: oneOf(data.severities, rows.severity),
  kind: oneOf(data.kinds.map((k) => k[0]), rows.kind),
  owner: (value) => {
    if (value === "none") return (i) => rows.owner[i] === 0;
    const hit = texts((text) => text === value);
    return (i) => hit[rows.owner[i]] === 1;
  },
  is: (value) => (Object.hasOwn(marks, value) ? (i) => (rows.flags[i] & marks[value]) !== 0 : null),
  group: (value) => (/^\d{1,7}$/.test(value) ? (i) => rows.group[i] === Number(value) - 1 : null),
};

// The findings that a line lets through, in their order, and what of it cannot be read.
function filter(line) {
  const all = [];
  const any = new Map();
  const bad = [];
  for (const { not, key, value } of parse(line)) {
    const test = key ? tests[key](value) : word(value);
    if (!test) bad.push(`${key}:${value}`);
    else if (not) all.push((i) => !test(i));
    else if (key) any.set(key, [...(any.get(key) || []), test]);
    else all.push(test);
  }
  for (const list of any.values()) {
    all.push(list.length === 1 ? list[0] : (i) => list.some((test) => test(i)));
  }
  const found = [];
  // What cannot be read lets nothing through: a filter that is half ignored would mislead.
  if (bad.length > 0) return { found, bad };
  next: for (let i = 0; i < total; i += 1) {
    for (const test of all) if (!test(i)) continue next;
    found.push(i);
  }
  return { found, bad };
}
