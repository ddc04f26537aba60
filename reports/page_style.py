"""How the page looks: light and dark, wide and narrow."""

__all__ = ["CSS"]

CSS = """
:root{color-scheme:light dark;--ink:#1f2933;--soft:#52606d;--faint:#616e7c;--ground:#fff;--band:#f5f7fa;--line:#e4e7eb;
 --rule:#9aa5b1;--head:#eef4fb;--bad:#b3261e;--bad-ground:#fdf3f2;--good:#1b5e20;--good-ground:#f1f8f2;--open:#8a5a00;
 --link:#1f5fa8}
@media (prefers-color-scheme:dark){:root{--ink:#e4e7eb;--soft:#b4bfca;--faint:#95a1ad;--ground:#14191f;--band:#1f262e;
 --line:#2f3841;--rule:#5a6672;--head:#1d2f45;--bad:#ff8a80;--bad-ground:#331a1a;--good:#81c995;--good-ground:#17281b;
 --open:#f2c062;--link:#8ab8f0}}
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;color:var(--ink);
 background:var(--ground);margin:0 auto;max-width:1320px;padding:24px;overflow-wrap:break-word}
h1{font-size:24px;margin:0 0 4px}
h2{font-size:18px;margin:40px 0 8px;border-bottom:1px solid var(--line);padding-bottom:4px}
p.sub,p.note,p.why{color:var(--soft);margin:4px 0} p.note{font-size:13px} p.why{max-width:80ch}
a{color:var(--link)} td a{white-space:nowrap} nav{margin:12px 0;display:flex;flex-wrap:wrap;gap:4px 16px;font-size:14px}
.banner{background:#ffe08a;color:#1f2933;border:1px solid #d9a400;padding:10px 14px;font-weight:700;text-align:center;
 margin:0 0 20px}
.verdict{border-left:6px solid var(--bad);background:var(--bad-ground);padding:10px 16px;margin:16px 0}
.verdict b{font-size:20px} .verdict.go{border-color:var(--good);background:var(--good-ground)}
.verdict ul,details ul{margin:6px 0 0;padding-left:20px} .verdict li,details li{overflow-wrap:anywhere}
details{margin:6px 0} summary{cursor:pointer}
.scroll{overflow-x:auto;margin:12px 0}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums}
caption{text-align:left;font-weight:600;padding:4px 0}
th,td{padding:4px 9px;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
th{background:var(--band);border-bottom:1px solid var(--rule);white-space:nowrap}
th:first-child,td:first-child{position:sticky;left:0;background:var(--ground);white-space:nowrap}
th:first-child{background:var(--band)} tr.head td:first-child{background:var(--head)}
.n{text-align:right;white-space:nowrap} tr.na td{color:var(--faint)}
tr.head td{background:var(--head);font-weight:600}
td.PASS,td.OK{color:var(--good);font-weight:600} td.FAIL,td.ALERT{color:var(--bad);font-weight:600}
td.NA,td.WARN{color:var(--open);font-weight:600} td.PASS,td.OK,td.FAIL,td.ALERT,td.NA,td.WARN{white-space:nowrap}
figure{margin:14px 0;background:#fff;border:1px solid var(--line);padding:8px;overflow-x:auto;border-radius:4px}
img{display:block;max-width:100%;margin:0 auto}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px;margin:0}
dt{color:var(--soft)} dd{margin:0;overflow-wrap:anywhere}
@media (max-width:640px){body{padding:12px;font-size:14px} dl{grid-template-columns:1fr} dd{margin:0 0 6px}
 table{font-size:12px} th,td{padding:3px 5px} td:last-child:not(.n){min-width:20ch}
 th:first-child,td:first-child{white-space:normal;min-width:9ch;max-width:34vw;
 overflow-wrap:break-word}
 img{max-width:none;width:760px}}
"""
