"""Technical scenes: measured values and limits, settings of a device, a program package, samples of a laboratory."""

# ruff: noqa: E501
# fmt: off
from __future__ import annotations

from reread.training.office.scenes import Slots, cells
from reread.training.office.values import Values


def limits(v: Values) -> tuple[Slots, str]:
    s = {
        "lab": v.institute(), "client": v.body(), "no": v.code("PR 199-99|19/9999|L-199/9"), "sample": v.code("S-199|P.19-9|WA199"), "point": v.room(), "taken": v.date(-20, -12), "came": v.date(-11, -9), "done": v.date(-8, -4), "issued": v.date(-3, 0), "again": v.date(60, 200),
        "by": v.person(False), "chem": v.person(False), "head": v.person(), "what": v.pick(("well water", "tap water", "pool water", "soil", "sludge")), "temp_take": f"{v.whole(14, 24)} °C", "temp_keep": f"{v.whole(3, 8)} °C", "old": v.code("PR 188-99|18/9999"),
    }
    rows = []
    for name, low, high, unit in v.some((("Nitrate", 5, 40, "mg/l"), ("Lead", 1, 8, "µg/l"), ("Chloride", 20, 200, "mg/l"), ("Copper", 10, 90, "µg/l"), ("Iron", 2, 90, "µg/l"), ("Sulphate", 15, 190, "mg/l"), ("Zinc", 4, 60, "µg/l")), v.whole(3, 5)):
        measured, earlier = v.measure(low, high, unit, 1), v.measure(low, high, unit, 1)
        rows.append((name, measured, earlier, f"{v.whole(high + 1, high * 3)} {unit}"))
    table = cells(s, rows, ("[Parameter|Substance|Analyte]", "[Found|Measured|Result]", "[Before|Last time|Previous]", "[Limit|Max.|Permitted]"), {
        1: "@ in this sample; @: result; How much @ was found this time?; What is the measured value for @?", 2: "@, previous result; @ in the earlier test; How much @ was found last time?",
        3: "Limit for @; @: permitted maximum; How much @ is allowed?; What is the highest permitted value for @?"})
    return s, """
%!
# [Test report|Laboratory report|Analysis report] {no}
[Laboratory|Tested by] :: {lab}
[Client|For|Ordered by] :: {client}
[Sample|Sample no.|Sample ID] :: {sample}, {what}
[Taken at|Sampling point] :: {point}
? lab: Testing body; Which laboratory made the test?; Issuer of the report
? client: Customer; For whom was the test made?; Party that ordered the test
? no: Number of this report; Report no.; How is this report numbered?
? what: Material tested; What was tested?; Kind of sample
? point: Place of sampling; Where was the sample taken?
~ Accreditation number; Under which number is the laboratory accredited?
~ Price of the test; What did the test cost?
%
# [Course|Dates]
[Taken|Sampled]: {taken} by {by} (at {temp_take}). [Received|Arrived]: {came}, kept at {temp_keep}. [Tested|Measured]: {done} by {chem}. [Report|Issued]: {issued}. [Repeat|Next test]: {again}.
? taken: Sampling date; When was the sample taken?; Day of sampling
? came: Date of receipt; When did the sample reach the laboratory?; Sample arrived on
? done: Test date; On what day was the sample measured?; Day of analysis
? issued: Report date; When was the report written?; Date of issue
? again: Repeat test due; When must the test be repeated?; Date of the following test
? by: Sampler; Who took the sample?; Sample collected by
? chem: Analyst; Who measured the sample?; Analysis by
? temp_take: Temperature at sampling; How warm was it when the sample was taken?
? temp_keep: Storage temperature; At what temperature was the sample kept?
~ Weather; What was the weather at sampling?
%!
{table}
~ Mercury; How much mercury was found?
~ Cadmium limit; What is the limit for cadmium?
%
This report replaces {old}. [Approved|Released] by {head}.
? old: Replaced report; Which report is no longer valid?; Earlier report
? head: Approver; Who released the report?; Released by
""".replace("{table}", table)


def settings(v: Values) -> tuple[Slots, str]:
    kind = v.pick(("router", "boiler control", "printer", "alarm panel", "irrigation computer", "scanner", "door station"))
    s = {
        "kind": kind, "name": v.brand(), "other": v.brand(), "maker": v.firm(), "ver": v.version(), "ver_min": v.version(), "ver_old": v.version(), "doc": v.code("M-1999|19-99-A|HB199"), "doc_old": v.code("M-0199|09-99-B|HB 099"),
        "pw_len": v.span(8, 14, "characters"), "tries": v.pick(("three attempts", "four attempts", "five attempts")), "lock": v.span(10, 30, "minutes"), "short": v.span(2, 4, "seconds"), "long": v.span(8, 15, "seconds"), "ok": v.pick(("green", "blue", "white")), "bad": v.pick(("red", "amber", "orange")),
        "key1": v.pick(("MENU", "SET", "MODE")), "key2": v.pick(("RESET", "TEST", "BACK")), "user": v.pick(("operator", "guest", "staff")), "adm": v.pick(("installer", "root", "keeper")), "volt": f"{v.whole(12, 24)} V", "volt_max": f"{v.whole(26, 48)} V", "mail": v.email("", v.host()), "tel": v.phone(),
    }
    rows = []
    for name, unit, low, high in v.some((("Time-out", "s", 5, 90), ("Fan speed", "rpm", 400, 2400), ("Pressure", "kPa", 20, 300), ("Port", "", 1024, 9999), ("Volume", "dB", 20, 80), ("Interval", "min", 5, 60), ("Brightness", "%", 10, 60), ("Delay", "ms", 10, 500)), v.whole(3, 5)):
        numbers = sorted(v.random.sample(range(low, high * 2), 3))
        first, second, third = (f"{number} {unit}".strip() for number in numbers)
        rows.append((name, second, first, third))
    table = cells(s, rows, ("[Setting|Parameter|Item]", "[Default|Factory|Preset]", "[Min|Lowest|From]", "[Max|Highest|Up to]"), {
        1: "Factory value of @; @, default; How is @ set when delivered?; What is the preset value of @?", 2: "Smallest value of @; @, minimum; What is the lowest value for @?", 3: "Largest value of @; @, maximum; What is the highest value for @?"})
    return s, """
%!
# [Settings of the {kind} {name}|{name}: operating manual|Manual for {name}]
[Document|Manual no.] {doc} by {maker}, for version {ver} [(before: {ver_old}; at least {ver_min} is needed)|(needs {ver_min} or later; the earlier manual was for {ver_old})]. It replaces {doc_old}. The {other} has a manual of its own.
? name: Device described; Which device is this manual for?; Model of this manual
? other: Device with another manual; Which model is not covered here?; Not covered
? maker: Manufacturer; Who makes the {kind}?; Producer
? doc: Number of this manual; How is this manual numbered?; Manual reference
? doc_old: Replaced manual; Which manual is out of date?; Earlier manual
? ver: Software version described; Which version does this manual describe?; Current version
? ver_min: Lowest version needed; Which version is needed at least?; Minimum version
? ver_old: Version of the earlier manual; Which version was the earlier manual for?; Version before
~ Serial number; What is the serial number of the {kind}?
~ Guarantee; How long is the guarantee?
%!
{table}
~ Language setting; Which language is set at first?
%
# [Keys|Operation]
Press {key1} for {short} to wake the {kind}; hold {key2} for {long} to erase all settings. The lamp is {ok} in use and {bad} in case of a fault.
? key1: Key that wakes it; Which key wakes the {kind}?; Wake key
? key2: Key that erases the settings; Which key erases the settings?; Erase key
? short: Press to wake for; How long must the key be pressed to wake it?
? long: Hold to erase for; How long must the key be held to erase everything?
? ok: Lamp in use; What colour is the lamp in normal use?; Light, normal
? bad: Lamp in case of a fault; What colour shows a fault?; Light, fault
~ Battery life; How long does the battery last?
%
# [Access|Users]
The user "{user}" may read, "{adm}" may change values. A password has at least {pw_len}. After {tries} access is blocked for {lock}.
? user: User who may only read; Which user cannot change values?; Read-only user
? adm: User who may change values; Which user can change settings?; Administrator
? pw_len: Length of passwords; How long must a password be?; Minimum password length
? tries: Attempts allowed; After how many tries is access blocked?; Tries before the block
? lock: Duration of the block; How long is access blocked?; Blocked for
~ First password; What is the password on delivery?
%
[Supply|Voltage] :: {volt} [(never above {volt_max})|(limit {volt_max})]
[Help by mail|Support mail] :: {mail}
[Help by phone|Support line] :: {tel}
? volt: Supply voltage; On which voltage does it run?; Rated voltage
? volt_max: Highest voltage; Which voltage must not be exceeded?; Maximum supply
? mail: Support e-mail; Where can one write for help?
? tel: Support phone; Which number gives help?
~ Power consumption; How much power does it use?
""".replace("{table}", table)


def release(v: Values) -> tuple[Slots, str]:
    s = {
        "name": v.identifier(), "old_name": v.identifier(), "dep1": v.identifier(), "dep2": v.identifier(), "opt": v.identifier(), "new": v.version(), "prev": v.version(), "next": v.version(), "d1": v.version(), "d2": v.version(), "d3": v.version(),
        "date": v.date(-9, 0), "first": v.date(-2900, -1500), "end": v.date(200, 600), "author": v.person(False), "keep": v.person(False), "rev": v.person(False), "lic_old": v.pick(("MIT", "ISC", "zlib")), "lic": v.pick(("Apache-2.0", "MPL-2.0", "BSD-3-Clause")),
        "py": f"3.{v.whole(10, 12)}", "py_old": f"3.{v.whole(6, 9)}", "size": v.measure(200, 490, "kB"), "size_old": v.measure(500, 900, "kB"), "home": v.url(), "bugs": v.url(), "docs": v.url(), "sha": v.code("xxxxxxxxxxxx"), "sha_old": v.code("xxxxxxxxxxxx"), "fast": f"{v.whole(11, 40)} ms", "slow": f"{v.whole(50, 190)} ms",
    }
    return s, """
%!
# [{name} {new}|Release notes: {name} {new}|{name}, version {new}]
[Package|Name] :: {name}
[Formerly|Old name|Was called] :: {old_name}
[Released|Date] :: {date}
[First release|Since] :: {first}
[Licence|License] :: {lic} [(until {prev}: {lic_old})|({lic_old} before)]
? name: Package name; What is the package called now?; Present name
? old_name: Former name; What was the package called before?; Name before it was renamed
? new: Version of this release; Which version is released here?; This version
? date: Date of this release; When did {new} come out?; Release date of {new}
? first: Date of the first release; When did the package first appear?; First published
? lic: Present licence; Under which licence is it now?; Licence now
? lic_old: Former licence; Which licence applied before?; Licence of earlier versions
~ Number of downloads; How often was it downloaded?
~ Code name of the release; What is the release called?
%!
# [Requirements|Needs]
Python {py} or later (the last release still ran on {py_old}); {dep1} {d1}, {dep2} {d2}; [optional|if wanted]: {opt} {d3}.
? py: Lowest Python version; Which Python is needed now?; Python at least
? py_old: Python that was enough before; On which Python did the last release run?; Python, former minimum
? d1: Version of {dep1}; Which {dep1} is needed?; {dep1}, version
? d2: Version of {dep2}; Which {dep2} is needed?; {dep2}, version
? d3: Version of {opt}; Which version of {opt} can be used?; {opt}, version
? opt: Optional package; Which package is not required?; Not required
~ Compiler; Which compiler is needed?
%!
# [People|Who]
[Written|Begun] by {author}; [maintained|looked after] by {keep}; this release was [reviewed|checked] by {rev}.
? author: Original author; Who wrote the package first?; Creator
? keep: Maintainer; Who maintains the package now?; Person in charge
? rev: Reviewer; Who checked this release?; Release checked by
~ E-mail of the maintainer; How can the maintainer be reached?
%
# [Changes|What is new]
A call now takes {fast} instead of {slow}; the archive shrinks from {size_old} to {size}. {prev} gets fixes until {end}; {next} will drop old names.
? fast: Time of a call now; How long does a call take now?; Call, new time
? slow: Time of a call before; How long did a call take before?; Call, old time
? size: Archive size now; How large is the archive now?; New size
? size_old: Former archive size; How large was the archive before?; Old size
? end: Fixes for {prev} until; How long is {prev} still supported?; Support of {prev} ends
? prev: Version still supported with fixes; Which older version still gets fixes?
? next: Version that drops old names; In which version will old names go?
~ Memory used; How much memory does a call use?
%
[Home page|Homepage] :: {home}
[Report bugs|Issues] :: {bugs}
[Manual|Documentation] :: {docs}
[Checksum|Digest] :: {sha} [(before: {sha_old})|({prev}: {sha_old})]
? home: Project page; Where is the project's page?
? bugs: Address for bugs; Where are errors reported?; Bug tracker
? docs: Address of the manual; Where can the manual be read?
? sha: Checksum of this release; What is the digest of {new}?; Hash of {new}
? sha_old: Checksum of the earlier release; What was the digest before?
~ Mailing list; What is the address of the mailing list?
"""


SCENES = {"limits and results": limits, "settings": settings, "release": release}
