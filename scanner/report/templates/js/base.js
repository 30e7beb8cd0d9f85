"use strict";
// What everything else uses. All text goes into the document by textContent.

const data = JSON.parse(document.getElementById("mw-data").textContent);
const rows = data.findings;
const total = rows.id.length;
const NEW = 1, ACKNOWLEDGED = 2, FLAPPING = 4, BACK = 8, DRIFT = 16, SETTLED = 32;
const numbers = new Intl.NumberFormat("en");
const svgSpace = document.documentElement.querySelector("svg")?.namespaceURI;

function byId(id) {
  return document.getElementById(id);
}

// An element with attributes and children; a string is text.
function el(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === true) node.setAttribute(key, "");
    else if (value !== false && value !== null) node.setAttribute(key, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

function endpoint(i) {
  const ip = rows.ip[i];
  const proto = data.text[rows.proto[i]];
  let s = ip;
  if (rows.port[i]) s = (ip.includes(":") ? `[${ip}]` : ip) + `:${rows.port[i]}`;
  return proto === "tcp" ? s : `${s}/${proto}`;
}

function time(seconds, end) {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? "–" : date.toISOString().slice(0, end).replace("T", " ");
}
