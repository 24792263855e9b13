"""How every page looks, and the script that sorts its lists."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light dark; --ground: #fff; --ink: #1c1c1c; --soft: #666; --line: #ddd; --gap: #eee;
--stripe: #f4f4f4; --link: #0b57a4; }
@media (prefers-color-scheme: dark) { :root { --ground: #15181c; --ink: #e6e6e6; --soft: #a3a8ae; --line: #3a4048;
--gap: #262b31; --stripe: #1d2126; --link: #7db7f0; } }
* { box-sizing: border-box; }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--ground); margin: 1.5rem auto;
max-width: 78rem; padding: 0 1rem; overflow-wrap: break-word; }
a { color: var(--link); } nav { font-size: .9rem; margin-bottom: .8rem; } nav a { margin-right: 1.2rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
p { margin: .2rem 0; } .warning { background: #b3261e; color: #fff; font-weight: 600; padding: .5rem .8rem;
border-radius: .3rem; margin: .6rem 0; display: inline-block; }
.scroll { overflow-x: auto; max-width: 100%; } table { border-collapse: collapse; margin: .6rem 0; }
th { font-weight: 600; padding: .3rem .7rem; text-align: left; } thead th { text-align: center; }
sup, sub { font-size: .7em; line-height: 0; white-space: nowrap; }
.grid tbody th { white-space: nowrap; position: sticky; left: 0; background: var(--ground); }
.grid td { padding: .45rem .8rem; text-align: center; border: 2px solid var(--ground); min-width: 6.5rem; }
.grid small { display: block; font-size: .75rem; } .grid td:has(small + small) { min-width: 11rem; }
.grid td.gap { background: var(--gap); color: var(--soft); }
.grid th.group { border-bottom: 2px solid var(--soft); }
.quoted, .grid td.quoted { color: var(--soft); font-style: italic; }
.grid td.quoted { background: repeating-linear-gradient(135deg, var(--ground), var(--ground) 6px, var(--stripe) 6px,
var(--stripe) 12px); }
.grid b { font-size: 1.1rem; font-weight: 500; white-space: nowrap; }
.grid td.quoted b { font-size: 1rem; font-weight: 400; }
.grid .best { font-weight: 800; border: 2px solid; border-radius: .3rem; padding: 0 .35rem; }
.grid a { color: inherit; text-decoration: none; } .grid a:hover, .grid a:focus { text-decoration: underline; }
.list td, .list th { border-bottom: 1px solid var(--line); padding: .2rem .6rem; font-size: .85rem; text-align: left; }
.list td:not(:last-child) { white-space: nowrap; } .list.words td { white-space: normal; vertical-align: top; }
th button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer;
text-align: inherit; }
th[aria-sort="ascending"] button::after { content: " \\25B2"; }
th[aria-sort="descending"] button::after { content: " \\25BC"; }
code { font-size: .8rem; } pre { overflow-x: auto; } img { max-width: 100%; height: auto; }
td.n, th.n { text-align: right !important; }
.verdict { display: inline-block; border-radius: .3rem; padding: .05rem .55rem; font-weight: 600; white-space: nowrap; }
.v-supported { background: #d9efdd; color: #14532d; } .v-contradicted { background: #f8d7d3; color: #7f1d1d; }
.v-equivalent { background: #d8e6f6; color: #123a63; } .v-too-imprecise { background: #fdf0cf; color: #713f12; }
.v-not-run { background: #e8e8e8; color: #444; }
summary { cursor: pointer; margin: .5rem 0; }
@media (max-width: 40rem) { body { margin: .8rem auto; padding: 0 .6rem; }
.grid td { min-width: 4.5rem; padding: .35rem; } .grid td:has(small + small) { min-width: 8rem; }
 .picture img { max-width: 50rem; }
.grid th, .grid td { font-size: .85rem; } }
@media print { nav { display: none; } }
.tiles { display: grid; gap: .8rem; margin: .6rem 0; padding: 0; list-style: none; }
.tiles figure { margin: 0; } .tiles img { display: block; width: 100%; height: auto; border-radius: .3rem; }
.tiles figcaption { font-size: .85rem; line-height: 1.35; margin-top: .3rem; }
.tiles figcaption b, .tiles figcaption span { display: block; } .tiles figcaption span { color: var(--soft); }
.tiles .bare { border: 1px dashed var(--line); border-radius: .3rem; padding: .7rem; height: 100%; }
.tiles.steps { grid-template-columns: repeat(auto-fit, minmax(min(100%, 10rem), 1fr)); gap: .9rem 2rem; }
.tiles.steps img { aspect-ratio: 1; object-fit: contain; background: var(--stripe); }
.tiles.steps > li { position: relative; }
.tiles.steps > li:not(:last-child)::after { content: "\\2192"; position: absolute; right: -1.7rem; top: 5rem;
font-size: 1.4rem; line-height: 1; color: var(--soft); }
.tiles.row { grid-auto-flow: column; grid-auto-columns: minmax(0, 1fr); gap: .4rem; margin: .2rem 0; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); gap: .8rem 1.6rem;
margin: .6rem 0; } .gallery.wide { grid-template-columns: repeat(auto-fill, minmax(min(100%, 30rem), 1fr)); }
.gallery p { font-size: .85rem; color: var(--soft); }
@media (max-width: 46rem) { .tiles.steps { gap: .8rem; } .tiles.steps > li::after { display: none; } }
"""

# Headings of lists become buttons that sort by their column, numbers as numbers. Without scripts they are headings.
SCRIPT = """
document.querySelectorAll('table.list').forEach(function (table) {
  var head = table.rows[0], body = head && head.parentNode;
  if (table.rows.length < 4) return;
  Array.prototype.forEach.call(head.cells, function (cell, column) {
    var button = document.createElement('button');
    button.type = 'button';
    while (cell.firstChild) button.appendChild(cell.firstChild);
    cell.appendChild(button);
    button.addEventListener('click', function () {
      var up = cell.getAttribute('aria-sort') !== 'ascending';
      Array.prototype.forEach.call(head.cells, function (other) { other.removeAttribute('aria-sort'); });
      cell.setAttribute('aria-sort', up ? 'ascending' : 'descending');
      Array.prototype.slice.call(table.rows, 1).sort(function (one, two) {
        var a = one.cells[column].textContent.trim(), b = two.cells[column].textContent.trim();
        var x = parseFloat(a), y = parseFloat(b);
        var order = isNaN(x) || isNaN(y) ? a.localeCompare(b) : x - y;
        return up ? order : -order;
      }).forEach(function (row) { body.appendChild(row); });
    });
  });
});
"""
