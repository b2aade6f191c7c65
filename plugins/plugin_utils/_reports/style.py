# Copyright: wharf.registry contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The look of a report: light and dark, from 360 pixels on, and on paper. It needs nothing from elsewhere."""

from __future__ import annotations

_LIGHT = """
--ground: #f6f7f8; --sheet: #ffffff; --ink: #1b1f24; --soft: #57606a; --line: #d8dee4; --stripe: #f6f8fa;
--good: #1a7f37; --change: #0a61b4; --care: #8a5a00; --bad: #b42318; --rest: #57606a;
--badground: #fdf1f0; --careground: #fdf6e7; --goodground: #eef8f0;
"""
_DARK = """
--ground: #0f1317; --sheet: #171c22; --ink: #e4e8ec; --soft: #9aa5b1; --line: #2c343d; --stripe: #1c2229;
--good: #5fcf80; --change: #6cb6ff; --care: #e3b04b; --bad: #ff8f85; --rest: #9aa5b1;
--badground: #2a1a1a; --careground: #282214; --goodground: #14251a;
"""

STYLE = f"""
:root {{ color-scheme: light dark; {_LIGHT} }}
@media (prefers-color-scheme: dark) {{ :root {{ {_DARK} }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: var(--ground); color: var(--ink);
  font: 14px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }}
main {{ max-width: 1320px; margin: 0 auto; padding: 28px 24px 48px; }}
header {{ display: grid; grid-template-columns: 1fr auto; gap: 4px 16px; align-items: start; }}
h1 {{ margin: 0; font-size: 26px; line-height: 1.25; font-weight: 650; letter-spacing: -.01em; }}
.of {{ margin: 0; color: var(--soft); overflow-wrap: anywhere; }}
.verdict {{ padding: 4px 14px; border: 1px solid; border-radius: 999px; font-weight: 650; white-space: nowrap; }}
.verdict.good {{ background: var(--goodground); }}
.verdict.bad {{ background: var(--badground); }}
.summary {{ margin: 18px 0 14px; font-size: 18px; overflow-wrap: anywhere; }}
.check {{ margin: 16px 0 0; padding: 8px 14px; border-left: 4px solid var(--care); background: var(--careground); }}
.bar {{ display: flex; gap: 2px; height: 10px; margin: 0 0 10px; border-radius: 5px; overflow: hidden; }}
.bar i {{ min-width: 3px; background: currentColor; }}
.key {{ display: flex; flex-wrap: wrap; gap: 4px 22px; margin: 0; padding: 0; list-style: none; }}
.key b {{ color: var(--ink); font-variant-numeric: tabular-nums; }}
section {{ margin-top: 28px; }}
h2 {{ margin: 0 0 8px; font-size: 17px; font-weight: 650; }}
h2 small {{ color: var(--soft); font-weight: 400; font-size: 14px; }}
.table {{ overflow-x: auto; background: var(--sheet); border: 1px solid var(--line); border-radius: 8px; }}
.failed .table {{ border-left: 4px solid var(--bad); }}
table {{ width: 100%; border-collapse: collapse; }}
th, td {{ padding: 8px 12px; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }}
thead th {{ color: var(--soft); font-size: 13px; font-weight: 600; white-space: nowrap; background: var(--stripe); }}
tbody th {{ font-weight: 600; min-width: 7em; }}
tbody tr:last-child > * {{ border-bottom: 0; }}
.long {{ overflow-wrap: anywhere; min-width: 12em; }}
td.wide {{ min-width: 16em; }}
@media (min-width: 1200px) {{ td.paths:not(.empty) {{ min-width: 34em; }} }}
.short {{ white-space: nowrap; }}
td.code {{ font: 12px/1.75 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }}
.number {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; min-width: 0; }}
time {{ white-space: nowrap; font-variant-numeric: tabular-nums; }}
.none {{ color: var(--soft); }}
.outcome {{ white-space: nowrap; font-weight: 600; }}
.outcome::before {{ content: ""; display: inline-block; width: 9px; height: 9px; margin-right: 7px; border-radius: 50%;
  background: currentColor; }}
.outcome.bad::before {{ border-radius: 2px; transform: rotate(45deg); }}
.outcome.rest::before {{ background: none; border: 2px solid; }}
.good {{ color: var(--good); }} .change {{ color: var(--change); }} .care {{ color: var(--care); }}
.bad {{ color: var(--bad); }} .rest {{ color: var(--rest); }}
small {{ color: var(--soft); }}
details {{ margin-top: 28px; }}
summary {{ cursor: pointer; color: var(--soft); }}
pre {{ overflow-x: auto; padding: 12px 14px; background: var(--sheet); border: 1px solid var(--line);
  border-radius: 8px; font: 12.5px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }}
footer {{ margin-top: 32px; padding-top: 12px; border-top: 1px solid var(--line); color: var(--soft);
  font-size: 13px; }}
:focus-visible {{ outline: 3px solid var(--change); outline-offset: 2px; }}
@media (max-width: 720px) {{
  main {{ padding: 18px 14px 36px; }}
  header {{ grid-template-columns: 1fr; }}
  .verdict {{ justify-self: start; margin-top: 6px; }}
  h1 {{ font-size: 22px; }}
  table, tbody, tr, th, td {{ display: block; min-width: 0 !important; }}
  thead {{ position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }}
  tbody tr {{ padding: 8px 14px; border-bottom: 1px solid var(--line); }}
  tbody tr:last-child {{ border-bottom: 0; }}
  tbody th, tbody td {{ padding: 2px 0; border: 0; text-align: left; white-space: normal;
    overflow-wrap: anywhere; }}
  tbody td, tbody td.number {{ display: grid; grid-template-columns: 8rem minmax(0, 1fr); gap: 10px;
    text-align: left; }}
  tbody td::before {{ color: var(--soft); font: 13px/1.7 system-ui, sans-serif; }}
  td.empty {{ display: none; }}
}}
@media print {{
  :root {{ color-scheme: light; {_LIGHT} --ground: #ffffff; --stripe: #ffffff; }}
  body {{ font-size: 10pt; }}
  main {{ max-width: none; padding: 0; }}
  .table {{ overflow: visible; border-radius: 0; }}
  th, td {{ padding: 4px 8px; }}
  tr, .check {{ break-inside: avoid; }}
  h2 {{ break-after: avoid; }}
  thead {{ display: table-header-group; }}
  details {{ display: none; }}
  .bar, .outcome::before, .verdict {{ print-color-adjust: exact; -webkit-print-color-adjust: exact; }}
}}
"""
