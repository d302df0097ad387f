"""report.html: one self-contained page without scripts or network access, and with nothing but counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment

from synth_ray.report.funnel import adds_up, funnel

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ m.name }} · synth_ray</title><style>
:root{color-scheme:light dark;--ink:#1d2430;--dim:#667085;--line:#d8dde6;--ok:#2f7d5b;--no:#c26a1b;--bad:#b3261e;--bg:#fff}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ef;--dim:#98a2b3;--line:#344054;--bg:#12161d}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--bg);max-width:58rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.05rem;margin:2rem 0 .5rem}p{margin:.3rem 0}.dim{color:var(--dim)}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .6rem .25rem 0;border-bottom:1px solid var(--line)}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}td.bar{width:45%}
.b{height:.8rem;border-radius:2px;min-width:1px}.accepted{background:var(--ok)}.rejected{background:var(--no)}.failed{background:var(--bad)}
.warn{border-left:4px solid var(--no);padding:.4rem .8rem}code{font-size:.85em;word-break:break-all}
</style></head><body>
<h1>{{ m.name }}</h1><p class="dim">{{ m.rows.accepted }} rows accepted of {{ m.rows.requested }} requested · {{ m.created_at }}</p>
{% if not m.complete %}<p class="warn">This run stopped before its end{% if m.stopped %}: {{ m.stopped }}{% endif %}.
Run the same command again to continue.</p>{% endif %}
{% if not sums %}<p class="warn">The funnel does not add up: please report this as a bug.</p>{% endif %}
<h2>Funnel</h2><table><tr><th>verdict</th><th>reason</th><th class="n">rows</th><th class="n">share</th><th></th></tr>
{% for s in steps %}<tr><td>{{ s.verdict }}</td><td>{{ s.reason }}</td><td class="n">{{ "{:,}".format(s.rows) }}</td>
<td class="n">{{ "{:.1%}".format(s.share) }}</td>
<td class="bar"><div class="b {{ s.verdict }}" style="width:{{ "%.1f"|format(100 * s.share) }}%"></div></td></tr>{% endfor %}</table>
<h2>Splits</h2><table>{% for name, n in m.splits.items() %}<tr><td>{{ name }}</td><td class="n">{{ "{:,}".format(n) }}</td></tr>{% endfor %}</table>
<h2>Seeds</h2><table><tr><td>read</td><td class="n">{{ m.seeds.read }}</td></tr><tr><td>planned</td><td class="n">{{ m.seeds.planned }}</td></tr>
{% for reason, n in m.seeds.rejected.items() %}<tr><td>rejected: {{ reason }}
<div class="dim">{{ (m.seeds.rejected_at or {}).get(reason, []) | join(", ") }}</div></td><td class="n">{{ n }}</td></tr>{% endfor %}</table>
{% if m.pii %}<h2>Scrubbed</h2><table>{% for entity, n in m.pii.items() %}<tr><td>{{ entity }}</td><td class="n">{{ n }}</td></tr>{% endfor %}</table>{% endif %}
{% if m.judge %}<h2>The judge</h2><table><tr><td>answers scored</td><td class="n">{{ "{:,}".format(m.judge.judged) }}</td></tr>
{% for name in ("gold", "observed", "kappa", "low", "high") if name in m.judge %}<tr><td>{{ name }}</td><td class="n">{{ m.judge[name] }}</td></tr>
{% endfor %}{% for name, n in (m.judge.good or {}).items() %}<tr><td>share of good answers, {{ name }}</td><td class="n">{{ n }}</td></tr>{% endfor %}
<tr><td>effect of its scores</td><td class="n">{{ "advice only" if m.judge.advisory else "reject rows" }}</td></tr></table>{% endif %}
{% if m.disclosure %}<h2>Disclosure of real records</h2><table>
{% for what, n in m.disclosure.copied.items() %}<tr><td>rejected as a copy: {{ what }}</td><td class="n">{{ n }}</td></tr>{% endfor %}
<tr><td>canaries planted, found</td><td class="n">{{ m.disclosure.canaries.planted }}, {{ m.disclosure.canaries.found }}</td></tr>
{% for name, n in m.disclosure.test.items() %}<tr><td>{{ name.replace("_", " ") }}</td><td class="n">{{ "%.3g"|format(n) }}</td></tr>{% endfor %}</table>
<p class="dim">A permutation test against records the teacher never saw. Finding nothing is no proof of privacy.</p>{% endif %}
<h2>Tokens and cost</h2><table>{% for name, n in m.tokens.items() %}<tr><td>{{ name }} tokens</td><td class="n">{{ "{:,}".format(n) }}</td></tr>{% endfor %}
{% for name, n in m.cost.items() %}<tr><td>{{ name }}</td><td class="n">{{ n }}</td></tr>{% endfor %}</table>
<h2>Identity</h2><table>{% for name in ("job_digest", "ask_digest", "dataset_digest") %}<tr><td>{{ name }}</td>
<td><code>{{ m[name] }}</code></td></tr>{% endfor %}</table>
</body></html>
"""


def page(manifest: Mapping[str, Any]) -> str:
    """The HTML page of one manifest."""
    template = Environment(autoescape=True).from_string(_PAGE)
    return template.render(m=manifest, steps=funnel(manifest), sums=adds_up(manifest))
