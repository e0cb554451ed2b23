"""Data sheets, manual sections, package metadata and incident reports."""

# fmt: off
from __future__ import annotations

from reread.training.office import words as w
from reread.training.office.record import Record, Section, Table
from reread.training.office.record import fact as f
from reread.training.office.values import Values

DEVICES = (
    "pressure sensor", "label printer", "stepper motor", "power supply", "air compressor", "flow meter",
        "barcode scanner", "solenoid valve", "LED driver", "gear pump",
    "thermal camera", "network switch", "ultrasonic cleaner", "load cell", "heat exchanger", "battery pack",
        "dust collector", "conveyor drive", "light curtain", "hoist",
    "inverter", "torque wrench", "vacuum gauge", "floor scrubber", "door controller", "paper shredder", "laser level",
        "dehumidifier",
)  # fmt: skip
APPLIANCES = (
    "coffee machine", "dishwasher", "sewing machine", "lawn mower", "espresso grinder", "washing machine",
        "pressure cooker", "e-bike", "water filter", "air purifier", "bread maker",
    "hedge trimmer", "projector", "steam iron", "wood stove", "food processor", "baby monitor", "chainsaw",
        "telescope", "garage door opener", "vacuum cleaner", "slow cooker",
)  # fmt: skip
CARE = (
    "rinse the tank", "oil the hinges", "tighten the belt", "change the filter", "clean the sensor",
        "descale the boiler", "check the seals", "empty the tray", "replace the brushes",
    "calibrate the scale", "dust the fan", "inspect the cable", "wipe the contacts", "grease the bearing",
        "drain the hose", "sharpen the blade", "test the safety switch", "update the firmware",
)  # fmt: skip
EVERY = (
    "daily|every week|every two weeks|once a month|every ten weeks|twice a year|every year|after each use|"
    "every 50 hours|every 200 hours|every 500 hours|before storage".split("|")
)
SIGNS = ("E01", "E02", "E03", "E07", "E11", "F1", "F2", "F4", "F9", "H3", "H5", "A10", "A12", "C6", "C8", "L2", "P5",
    "U7")
CAUSES = (
    "the lid is open", "the tank is empty", "the motor is too hot", "the belt is torn", "the filter is blocked",
        "no signal from the sensor", "the mains voltage is too low", "the pump runs dry",
    "the memory is full", "the door lock is stuck", "the fan is blocked", "the battery is weak",
        "the water is too hard", "the cable is loose", "the drum is overloaded",
)  # fmt: skip


def data_sheet(v: Values, size: int) -> Record:
    product, maker, device = v.brand(), v.firm(), v.pick(DEVICES)
    low, high = v.whole(-40, 0), v.whole(35, 95)
    head = (
        f("product", product, "Product|Model|Type|Product name|Designation",
            "Which product does the data sheet describe?|What is the {device} called?",
            "The {v} is a {device}.|This sheet describes the {v}.", kept=True),
        f("maker", maker, "Manufacturer|Maker|Made by|Producer", "Who makes the {product}?|"
            "Which company builds this {device}?", "It is made by {v}.|The {product} is built by {v}.", kept=True),
        f("order", v.code("19-9999-99|A199.999|199999|AA-1999-A|AAA19-9"), "Order code|Part number|Article no.|"
            "Order no.|SKU", "Under which code is the {product} ordered?|What is the part number?",
            "The order code is {v}.|Order it as {v}.", v.code("19-9999-99|AA-1999-A")),
        f("revision", f"Rev. {v.digits('A')}" if v.chance(0.5) else f"{v.whole(1, 8)}.{v.whole(0, 9)}",
            "Revision|Sheet revision|Document revision|Issue", "Which revision is this sheet?|"
            "What issue of the data sheet is it?", "This is issue {v} of the sheet.", topic="version"),
        f("released", v.date(-300, 0), "Release date|Released|Date of issue", "When was the sheet released?|"
            "On what date was this issue published?", "It was released on {v}.|This issue was published on {v}.",
            topic="version"),
        f("use", v.pick(("food plants", "wet rooms", "vehicle test stands", "packaging lines", "clean rooms",
            "outdoor cabinets", "ships", "ski lifts", "greenhouses", "pharmacies", "small workshops", "rail vehicles")),
            "Application|Intended use|Used in|Field of use", "Where is the {product} meant to be used?|"
            "For what places was it designed?", "It is meant for {v}.|The unit was designed for {v}."),
    )  # fmt: skip
    specs = (
        f("supply", v.pick((f"{v.whole(9, 48)} V DC", f"{v.whole(100, 240)} V AC, {v.pick((50, 60))} Hz",
            f"{v.whole(9, 12)} to {v.whole(24, 36)} V DC", f"3 x {v.whole(380, 480)} V")),
            "Supply voltage|Operating voltage|Power supply|Rated voltage|Input voltage",
            "What voltage does the {product} need?|On which voltage does it run?",
            "It runs on {v}.|The supply is {v}."),
        f("power", v.measure(2, 900, "W", v.whole(0, 1)), "Power consumption|Max. power|Power|Rated power",
            "How much power does the unit draw?|What is the power consumption?",
            "It draws up to {v}.|Power consumption is {v}.", v.measure(901, 1500, "W")),
        f("current", v.measure(0.1, 16, "A", 1), "Max. current|Rated current|Current",
            "How much current does it take?|What is the highest current?", "The highest current is {v}.|"
            "It takes {v} at most."),
        f("temp", f"{low} to {high} °C" if v.chance(0.7) else f"{low} °C ... {high} °C",
            "Operating temperature|Ambient temperature|Temperature range (operation)|Working temperature",
            "At which temperatures may it be operated?|What temperature range is allowed in use?|"
            "How hot may it get around the running unit?", "It may be used at {v}.|The permitted range in use is {v}."),
        f("storage", f"{low - 15} to {high + 12} °C", "Storage temperature|Temperature in storage|"
            "Temperature range (storage)", "At which temperatures may it be stored?|"
            "What range applies in storage, not in use?", "Store it at {v}.|In storage, {v} is allowed."),
        f("weight", v.pick((v.measure(60, 950, "g"), v.measure(1, 60, "kg", 1), v.measure(1, 90, "lb", 1))),
            "Weight|Mass|Net weight", "How heavy is the {product}?|What does the unit weigh?",
            "It weighs {v}.|The weight is {v}."),
        f("size", f"{v.whole(20, 400)} x {v.whole(20, 300)} x {v.whole(10, 200)} mm",
            "Dimensions|Size (L x W x H)|Outer dimensions|Dimensions (L x W x H)",
            "How large is the {product}?|What are its dimensions?", "It measures {v}.|The dimensions are {v}."),
        f("ip", f"IP{v.pick((20, 40, 44, 54, 65, 66, 67, 68))}", "Protection class|Ingress protection|"
            "Degree of protection|IP rating", "How well is it protected against water and dust?|"
            "Which IP rating does it have?", "It is protected to {v}.|The housing meets {v}."),
        f("housing", v.pick(("die-cast aluminium", "stainless steel 1.4404", "ABS", "polycarbonate",
            "glass-filled nylon", "powder-coated steel", "anodised aluminium", "brass, nickel-plated")),
            "Housing|Housing material|Material|Enclosure", "What is the housing made of?|"
            "Which material is used for the case?", "The housing is made of {v}.|The case is {v}."),
        f("interface", v.pick(("RS-485", "CAN bus", "IO-Link", "Modbus TCP", "USB-C", "4 to 20 mA", "Ethernet, RJ45",
            "Bluetooth 5.2", "SPI", "0 to 10 V", "RS-232", "LoRa")), "Interface|Output|Communication|Signal output",
            "How does it pass on its data?|Which interface does the {product} have?",
            "Data are sent over {v}.|The interface is {v}."),
        f("accuracy", v.pick((f"±{v.whole(1, 9) / 10}%", f"±{v.whole(1, 20) / 100} mm", f"±{v.whole(1, 5)} digits",
            f"±{v.whole(1, 9) / 10} K")), "Accuracy|Tolerance|Error limit", "How accurate is the unit?|"
            "What tolerance is stated?", "The accuracy is {v}.|Errors stay within {v}."),
        f("life", f"{v.whole(5, 90)},000 {v.pick(('hours', 'cycles', 'operations'))}",
            "Service life|Lifetime|Expected life|MTBF", "How long will the {product} last?|"
            "What service life can be expected?", "It lasts for {v}.|The expected life is {v}."),
        f("noise", v.measure(28, 84, "dB(A)"), "Noise level|Sound pressure|Noise",
            "How loud is it?|What is the noise level?", "It is as loud as {v}.|The noise level is {v}."),
        f("cable", v.measure(0.5, 10, "m", 1), "Cable length|Length of cable|Lead length",
            "How long is the cable?|What length of lead is supplied?", "The cable is {v} long.|"
            "A lead of {v} is supplied."),
        f("warranty", v.span(12, 60, "months"), "Warranty|Guarantee|Warranty period",
            "How long is the warranty on the {product}?|For how long does {maker} guarantee it?",
            "The warranty is {v}.|{maker} gives a warranty of {v}."),
        f("approval", v.pick(("CE, UKCA", "UL 61010", "ATEX Zone 2", "FCC Part 15", "EN 60204-1", "CSA C22.2",
            "RoHS, REACH", "IEC 62368-1")), "Approvals|Certificates|Standards|Conformity",
            "Which approvals does it have?|What standard does it meet?", "It is approved to {v}.|Approvals: {v}."),
        f("origin", v.pick([country[0] for country in w.COUNTRIES]), "Country of origin|Made in|Origin",
            "In which country is it made?|Where does the {product} come from?",
            "It is made in {v}.|The country of origin is {v}."),
        f("pack", f"{v.pick((2, 5, 10, 20, 25, 50, 100))} pcs per {v.pick(('box', 'tray', 'reel', 'carton'))}",
            "Packing unit|Packaging|Pack size", "How many come in one package?|What is the packing unit?",
            "The packing unit is {v}.|It ships as {v}."),
    )  # fmt: skip
    titles = (
        "{product}\nData sheet|{product} {device} – Data sheet|{maker}: {product}|DATA SHEET {product}|"
        "{maker} {product}, {device}|Technical data {product}|{product} | {device}".replace(" | {device}",
        ", {device}")
    )
    return Record("data sheet", titles, {"device": device}, [Section(v.pick(("", "General", "Overview")), head),
        Section(v.pick(("Technical data", "Specifications", "Characteristics", "Ratings")), specs)])


def manual(v: Values, size: int) -> Record:
    product, device, maker = v.brand(), v.pick(APPLIANCES), v.firm()
    part = v.pick(("Cleaning and care", "Before first use", "Maintenance", "Faults", "Installation", "Daily operation",
        "Storage", "Safety checks"))
    chapter = f"{v.whole(2, 14)}.{v.whole(1, 9)}"
    facts = (
        f("product", product, "Model|Appliance|Product|Machine", "Which model is the manual for?|"
            "What {device} does this section describe?", "This section is about the {device} {v}.|"
            "The model is the {v}.", kept=True),
        f("maker", maker, "Manufacturer|Maker|Made by", "Who makes the {device}?|Which firm built the {product}?",
            "The {device} is made by {v}.", kept=True),
        f("chapter", chapter, "Chapter|Section|Section no.", "Which section is this?|"
            "What number does the chapter have?", "You are reading section {v}.", kept=True),
        f("doc", v.code("MAN-1999|UM 199-9|BA19999|199.999.A"), "Manual no.|Document number|Manual ID",
            "What is the manual's number?|Which document number does the manual have?",
            "The manual has the number {v}."),
        f("wait", v.span(2, 45, "minutes"), "Cooling time|Wait before opening|Waiting time",
            "How long must one wait before opening the {device}?|How long does it take to cool?",
            "Wait {v} before you open the {device}.|Let it cool for {v}.", v.span(46, 90, "minutes")),
        f("tool", v.pick(("8 mm spanner", "Torx T20 screwdriver", "soft brush", "hex key, 4 mm", "flat screwdriver",
            "feeler gauge", "10 mm socket", "torque wrench", "bottle brush", "microfibre cloth", "long-nose pliers")),
            "Tool needed|Tool|Required tool", "Which tool is needed?|What does one need for the job?",
            "You need a {v}.|Have a {v} ready."),
        f("torque", v.measure(1, 40, "Nm", 1), "Tightening torque|Torque", "How tight must the screws be?|"
            "With what torque are the screws tightened?", "Tighten the screws to {v}.|The screws need {v}."),
        f("agent", v.pick(("citric acid", "warm water", "mild soap", "white vinegar", "isopropyl alcohol",
            "pH-neutral cleaner", "baking soda", "dry compressed air")), "Cleaning agent|Clean with|Cleaner",
            "What should be used for cleaning?|Which cleaning agent is recommended?",
            "Clean the parts with {v}.|Use {v} only."),
        f("volume", v.pick((v.measure(0.3, 6, "litres", 1), v.measure(200, 950, "ml"))),
            "Tank capacity|Filling quantity|Capacity", "How much does the tank hold?|What quantity is filled in?",
            "The tank holds {v}.|Fill in {v}."),
        f("oil", v.pick(("SAE 30", "10W-40", "ISO VG 46", "food-grade grease H1", "white lithium grease",
            "silicone spray", "bar oil")), "Lubricant|Oil grade|Oil", "Which oil is to be used?|"
            "With what is the {device} lubricated?", "Lubricate it with {v}.|Use {v} for moving parts."),
        f("interval", v.pick(("every 60 hours", "every 120 hours", "every 8 weeks", "once a season",
            "after 300 cycles", "every 18 months")), "Service interval|Full service|Service due",
            "How often is a full service due?|At which interval must the {product} be serviced?",
            "A full service is due {v}.|Have the {device} serviced {v}.", v.pick(("every 90 hours", "every 4 weeks"))),
        f("lamp", v.pick(("green, steady", "red, flashing", "blue, steady", "amber, flashing", "white, slow pulse",
            "red, steady")), "Ready lamp|Indicator when ready|Status light",
            "What does the lamp show when the {device} is ready?|How does the indicator look when it is ready?",
            "When it is ready, the lamp is {v}.|The ready lamp shows: {v}."),
        f("button", v.pick(("SET", "MODE", "OK", "RESET", "START", "PROG", "CLEAN", "MENU")) + " for " + v.span(2, 12,
            "seconds"), "To reset|Reset|Reset procedure", "How is the {device} reset?|"
            "Which button must be held, and how long?", "To reset, press {v}.|Hold {v} to start again."),
        f("spare", v.code("199-999|E-1999|19 99 99|S19.99"), "Spare filter no.|Filter order no.|Replacement part",
            "What is the number of the spare filter?|Under which number is a filter ordered?",
            "Spare filters have the number {v}.|Order filters as {v}."),
        f("distance", v.pick((v.measure(5, 60, "cm"), v.measure(2, 20, "in"))),
            "Distance to wall|Clearance|Minimum distance", "How far from the wall must it stand?|"
            "What clearance is needed?", "Keep {v} from the wall.|Leave {v} free on each side."),
        f("fuse", v.pick(("T 3.15 A", "T 6.3 A", "10 A slow", "13 A", "F 2 A", "16 A")), "Fuse|Fuse rating|Mains fuse",
            "Which fuse is built in?|What fuse must be used?", "The fuse is rated {v}.|Use a {v} fuse."),
        f("hotline", v.phone(), "Service hotline|Customer service|Hotline", "Which number helps if the fault stays?|"
            "How can {maker} be phoned?", "Our service can be called on {v}.|Ring {v} for help.", topic="contact"),
        f("web", v.url(), "Spare parts shop|Web|Website", "Where can spare parts be bought online?|"
            "Which web page has the spare parts?", "Spare parts are sold at {v}.|See {v} for spare parts."),
    )  # fmt: skip
    count = v.whole(2, max(2, min(9, size // 90)))
    if part == "Faults" or v.chance(0.4):
        codes, causes = v.some(SIGNS, count + 2), v.some(CAUSES, count)
        table = Table(v.pick(("Error codes", "Messages", "Fault table")), v.pick((("Code", "Meaning"), ("Display",
            "Cause"))), tuple(zip(codes[:count], causes, strict=False)),
                      {1: "What does {row} on the display mean?|What is wrong if {row} appears?|"
                          "Which fault has the code {row}?"}, "If {0} is shown, {1}.", tuple(codes[count:]),
                              back={1: "Which code appears if {cell}?|"
                          "What is displayed when {cell}?"})
    else:
        jobs = v.some(CARE, count + 2)
        rows = tuple((job, v.pick(EVERY), v.span(2, 50, "minutes")) for job in jobs[:count])
        table = Table(v.pick(("Care plan", "Maintenance table", "Regular work")), v.pick((("Work", "Interval",
            "Time needed"), ("Job", "How often", "Duration"))), rows,
                      {1: "How often do you {row}?|At which interval must one {row}?|"
                          "When should the user {row}?", 2: "How long does it take to {row}?|"
                          "How much time is needed to {row}?"},
                      "You should {0} {1}; this takes {2}.", tuple(jobs[count:]))  # fmt: skip
    titles = (
        "{chapter} {part} – {product}|{product}: {part}|Section {chapter}: {part} ({product})|"
        "{maker} {product}, user manual|Manual {product} – chapter {chapter}: {part}|{chapter}. {part}\n{product}"
    )
    cut = v.whole(4, 10)
    return Record("manual", titles, {"part": part, "device": device}, [Section("", facts[:cut]), table, Section(v.pick(
        (part, "Notes", "")), facts[cut:])], plain=v.chance(0.6))


PURPOSES = (
    "reads tables from text files", "draws maps in the terminal", "checks e-mail addresses", "renders LaTeX formulas",
        "keeps secrets in a vault", "splits audio at pauses", "schedules jobs on a cluster",
    "compares two folders", "converts units of measure", "writes calendars", "parses log files",
        "guesses the language of a text", "caches web pages", "simulates queues", "signs PDF files",
    "finds duplicate pictures", "validates forms", "solves timetables", "plots sparklines", "reads weather data",
        "compresses JSON", "serves static files",
)  # fmt: skip
LICENCES = (
    "MIT|Apache-2.0|BSD-3-Clause|GPL-3.0-or-later|MPL-2.0|ISC|LGPL-2.1|EUPL-1.2|Zlib|BSL-1.0|Unlicense|AGPL-3.0".split(
    "|")
)


def package(v: Values, size: int) -> Record:
    name, author = v.identifier(), v.person(titled=False)
    language = v.pick(("Python", "Rust", "Go", "JavaScript", "Ruby", "C++", "Haskell", "Julia", "Kotlin", "R"))
    minimum = {"Python": ">=3.8|>=3.9|>=3.10|>=3.11|>=3.12,<4", "JavaScript": ">=18|>=20|^22"}.get(language,
        "1.70|1.21 or later|3.2|>=2.7|17|9.4")
    host = v.host()
    facts = (
        f("name", name, "Name|Package|Package name|Project", "What is the package called?|Which package is described?",
            "The package is called {v}.|{v} is a {language} package.", kept=True),
        f("version", v.version(), "Version|Latest version|Current version|Release",
            "What is the latest version of {name}?|Which version is described?|"
            "What is the current release, not the previous one?", "The current version is {v}.|"
            "Version {v} has been released.", v.version(), topic="version"),
        f("released", v.date(-60, 0), "Released|Release date|Published|Uploaded",
            "When was this version released?|On which day did {name} come out?",
            "It was released on {v}.|This version came out on {v}.", v.date(-400, -61), topic="version"),
        f("first", v.date(-3000, -900), "First release|Initial release|First published",
            "When did {name} appear for the first time?|What is the date of the first release?",
            "The first release was on {v}.|{name} first appeared on {v}.", topic="version"),
        f("summary", v.pick(PURPOSES), "Summary|Description|About|Purpose", "What does {name} do?|"
            "What is {name} good for?", "{name} {v}.|In short, it {v}."),
        f("author", author, "Author|Created by|Written by|Original author", "Who wrote {name}?|Who is the author?",
            "It was written by {v}.|The author is {v}.", kept=v.chance(0.5)),
        f("maintainer", v.person(titled=False), "Maintainer|Maintained by|Current maintainer",
            "Who looks after {name} now?|Who is the maintainer, as opposed to the author?",
            "It is maintained by {v}.|{v} looks after it now.", v.person(titled=False)),
        f("mail", v.email(author, host), "Author email|Author-email|E-mail|Contact",
            "What is the e-mail address for {name}?|Where can one write to the author?",
            "Write to {v}.|The contact address is {v}.", topic="contact"),
        f("license", v.pick(LICENCES), "License|Licence|License-Expression|Licensed under",
            "Under which licence is {name} published?|What licence does it have?",
            "It is licensed under {v}.|The licence is {v}.", v.pick(LICENCES)),
        f("home", f"https://{host}/{name}", "Homepage|Home-page|Project URL|Website",
            "What is the home page of {name}?|On which page can one read about it?",
            "The home page is {v}.|See {v} for more."),
        f("repo", f"https://git.{v.host()}/{name}", "Repository|Source|Source code|Code",
            "Where is the source code?|At which address is the repository?", "The code is at {v}.|"
            "Get the source from {v}."),
        f("docs", f"https://docs.{v.host()}/{name}", "Documentation|Docs|Manual",
            "Where is the documentation of {name}?|What is the address of the docs?",
            "The documentation is at {v}.|Read the manual at {v}."),
        f("issues", f"https://bugs.{v.host()}/{v.whole(10, 999)}", "Bug tracker|Issues|Issue tracker|Report bugs",
            "Where are bugs reported?|What is the address for bug reports?", "Bugs are reported at {v}.|"
            "Report problems at {v}."),
        f("needs", v.pick(minimum.split("|")),
            f"Requires-{language}|Requires {language}|{language} version|Minimum {language}",
            f"Which version of {language} does {{name}} need?|What {language} version is required?",
            f"It needs {language} {{v}}.|{language} {{v}} is required."),
        f("keywords", ", ".join(v.some(w.PACKAGE_WORDS, v.whole(2, 5))), "Keywords|Tags|Topics",
            "Which keywords does {name} have?|How is the package tagged?", "Its keywords are {v}.|It is tagged {v}."),
        f("status", v.pick(("Alpha", "Beta", "Stable", "Mature", "Experimental", "Inactive", "Planning",
            "Release candidate")), "Development status|Status|Maturity|Stage",
            "How mature is {name}?|In what state of development is it?", "Its development status is {v}.|Status: {v}."),
        f("size", v.pick((v.measure(8, 990, "kB"), v.measure(1, 40, "MB", 1))),
            "Size|Package size|Download size|Unpacked size", "How large is the package?|How much must be downloaded?",
            "The download is {v}.|It takes {v}."),
        f("downloads", v.number(200, 900000), "Downloads last month|Monthly downloads|Downloads",
            "How often was {name} downloaded last month?|How many downloads are counted?",
            "It was downloaded {v} times last month.|There were {v} downloads last month."),
        f("files", f"{name.replace('-', '_')}{v.pick(('-src', '-source', '-sdist', '_full'))}.tar.gz",
            "Source archive|File|Distribution|Archive", "What is the name of the source archive?|"
            "Which file holds the source?", "The source archive is {v}.|The file is {v}."),
        f("hash", v.digits("x" * v.pick((16, 24, 40))), "Checksum|SHA256 (short)|Digest|Hash",
            "What is the checksum?|Which hash does the archive have?", "The checksum is {v}.|Its digest is {v}."),
        f("command", f"{v.coined().lower()}ctl" if v.chance(0.5) else f"run-{v.coined().lower()}",
            "Command|Entry point|Console script|Binary", "Which command does the package install?|"
            "How is it called on the command line?", "It installs the command {v}.|Run it with {v}."),
        f("system", v.pick(("Linux only", "OS independent", "Linux and macOS", "Windows 10 or later",
            "any POSIX system", "FreeBSD, Linux")), "Operating system|Platform|Platforms|Runs on",
            "On which systems does {name} run?|What platform is needed?", "Platform: {v}.|Supported systems: {v}."),
    )  # fmt: skip
    count = max(v.whole(2, max(2, min(9, size // 80))), min(16, size // 130))
    others = [v.identifier() for _ in range(count + 2)]
    rows = tuple((one, f"{v.pick(('>=', '~=', '==', '^', '>'))}{v.whole(0, 9)}.{v.whole(0, 30)}", v.pick(("run",
        "test", "docs", "build", "optional", "dev"))) for one in others[:count])
    table = Table(v.pick(("Dependencies", "Requirements", "Requires")), v.pick((("Dependency", "Range", "Needed for"),
        ("Requirement", "Constraint", "Scope"))), rows,
                  {1: "Which version of {row} is required?|What range of {row} does {name} accept?",
                      2: "What is {row} needed for?|"
                      ""
                      "For which purpose is {row} listed?"}, "{name} depends on {0} {1} ({2}).", tuple(others[count:]))
    titles = (
        "{name}|{name} – {language} package|Package: {name}|{name} by {author_}|{name}, a package that {summary_}|"
        "Metadata of {name}"
    )
    names = {"language": language, "author_": author, "summary_": next(
        one.value for one in facts if one.key == "summary")}
    if author not in [one.value for one in facts if one.kept]:
        titles = titles.replace("|{name} by {author_}", "")
    titles = titles.replace("|{name}, a package that {summary_}", "")
    cut = v.whole(6, 14)
    return Record("package metadata", titles, names, [Section("", facts[:cut]), table, Section(v.pick((
        "Links and files", "More", "Project details", "")), facts[cut:])], mail=False)

INCIDENTS = {
    "person": ("fall from a ladder", "cut hand", "slip on wet floor", "forklift collision", "chemical splash",
               "fall on the stairs",
               "hand caught in a press", "scalding with hot water"),
    "plant": ("burst pipe", "gas alarm", "power failure", "stuck lift", "leaking drum", "false fire alarm",
              "overheated battery", "small fire", "broken conveyor belt", "near miss with a crane"),
    "data": ("server outage", "loss of a laptop", "data sent to the wrong person", "theft of tools", "stolen badge",
             "wrong delivery of medicine", "lost archive box", "break-in at the store"),
}  # fmt: skip
CAUSES_OF = {
    "person": ("missing guard", "wet leaves on the steps", "no warning sign", "poor lighting", "loose carpet",
               "wrong shoes",
               "no gloves worn", "blocked walkway", "haste"),
    "plant": ("worn hose", "loose screw", "old battery", "faulty relay", "blocked drain", "missed inspection", "frost",
              "corroded valve", "wrong setting"),
    "data": ("expired certificate", "mixed-up labels", "human error", "unlocked door", "shared password",
               "similar names",
             "missing checklist", "open window"),
}  # fmt: skip
INJURIES = {
    "person": ("bruised knee", "burn on the left hand", "sprained ankle", "cut on the forearm", "broken wrist",
               "sore back",
               "eye irritation", "torn ligament", "bruised ribs"),
}  # fmt: skip
MEASURES = {
    "person": ("new railing", "extra training", "anti-slip mats", "two-person rule", "brighter lamps",
               "safety shoes for all",
               "marked walkways"),
    "plant": ("weekly inspection", "new hose", "spare generator", "warning lights", "yearly overhaul", "pressure gauge",
              "early replacement of parts"),
    "data": ("second lock", "better labels", "encrypted disks", "double check of addresses", "new passwords",
               "key register",
             "camera at the entrance"),
}  # fmt: skip


def incident(v: Values, size: int) -> Record:
    group = v.pick(list(INCIDENTS))
    what, cause, other_cause = v.pick(INCIDENTS[group]), *v.some(CAUSES_OF[group], 2)
    injury, measure = v.pick(INJURIES.get(group, ("none", "nobody hurt", "no injuries"))), v.pick(MEASURES[group])
    org, person = v.firm() if v.chance(0.7) else v.body(), v.person()
    facts = (
        f("number", v.code("INC-1999|IR-Y-199|U19/999|1999-99|EVT19999"), "Incident number|Report no.|Incident ID|"
            "Case no.|Reference", "What number does the incident have?|Under which number was it recorded?",
            "The incident has the number {v}.|It was recorded as {v}.", kept=True),
        f("what", what, "Incident|Type of incident|Event|What happened", "What happened?|"
            "What kind of incident was it?", "There was an incident: {v}.|The event is described as: {v}.", kept=True),
        f("org", org, "Company|Site operator|Organisation|Employer", "At which organisation did it happen?|"
            "Whose site was it?", "It happened at {v}.|The site belongs to {v}.", kept=True),
        f("date", v.date(-14, -3), "Date of incident|Incident date|Happened on|Occurred on",
            "On which day did the incident happen?|When did it happen?|"
            "What was the date of the event, not of the report?", "It happened on {v}.|The date of the event is {v}.",
            v.date(-40, -20)),
        f("time", v.time(0, 23), "Time of incident|Incident time|Time", "At what time did it happen?|"
            "What time was it when it happened?", "It was {v} when it happened.|The clock showed {v}."),
        f("place", v.room(), "Location|Place|Where|Place of incident", "Where did the incident occur?|"
            "In which place did it happen?", "It happened in {v}.|The place was {v}."),
        f("person", person, "Person involved|Affected person|Injured person|Person concerned",
            "Who was involved?|Which person was affected, not the one who reported it?",
            "{v} was affected.|The person concerned is {v}.", kept=v.chance(0.6)),
        f("job", v.pick(w.ROLES), "Occupation|Job of the person|Job title",
            "What is the job of the person involved?|As what does the affected person work?",
            "The person works as {v}.|The occupation is {v}."),
        f("reporter", v.person(), "Reported by|Reporter|Report made by", "Who reported the incident?|"
            "Who wrote the report?", "It was reported by {v}.|{v} made the report.", v.person()),
        f("reported", v.date(-2, 2), "Date of report|Report date|Reported on",
            "When was it reported?|What is the date of the report?", "It was reported on {v}.|The report is of {v}."),
        f("witness", v.person(), "Witness|Witnessed by|Seen by", "Who saw it happen?|Who was the witness?",
            "{v} saw what happened.|The witness is {v}."),
        f("injury", injury,
            "Injury|Injuries|Harm to persons", "What injury did the person have?|Was anyone hurt, and how?",
            "Injury: {v}.|Harm to persons: {v}."),
        f("cause", cause, "Cause|Root cause|Reason|Probable cause",
            "What caused it?|What was found to be the reason?", "The cause was this: {v}.|Root cause: {v}.",
            other_cause),
        f("damage", v.money(100, 90000, 0), "Damage|Estimated damage|Cost of damage|Loss",
            "How high is the damage?|What did the incident cost?", "The damage is put at {v}.|The loss comes to {v}.",
            v.money(100, 90000, 0)),
        f("downtime", v.span(2, 72, "hours"), "Downtime|Interruption|Work stopped for",
            "How long did work stop?|How long was the interruption?", "Work stopped for {v}.|The downtime was {v}."),
        f("absence", v.span(2, 40, "days"), "Days lost|Absence|Sick leave", "How many days was the person absent?|"
            "How long was the sick leave?", "The person was absent for {v}.|{v} of work were lost."),
        f("measure", measure,
            "Corrective action|Measure|Action taken|Remedy", "What is done to avoid a repeat?|"
            "Which measure was decided?", "As a remedy, this was decided: {v}.|Corrective action: {v}."),
        f("until", v.date(10, 60), "Action due|Complete by|To be done by", "By when must the measure be in place?|"
            "What is the deadline for the action?", "It must be in place by {v}.|The deadline is {v}.", v.date(61, 90)),
        f("lead", v.person(), "Investigator|Investigation led by|Investigated by",
            "Who investigates the case?|Who leads the investigation?", "{v} leads the investigation.|"
            "The case is investigated by {v}.", topic=""),
        f("severity", v.pick(("low", "medium", "high", "critical", "level 1", "level 2", "level 3", "minor", "major",
            "category B")), "Severity|Class|Priority|Severity level", "How severe was it?|"
            "Which severity was assigned?", "The severity is rated {v}.|It is classed as {v}."),
        f("authority", v.pick(("labour inspectorate", "fire service", "police", "water authority", "health office",
            "none", "data protection authority", "coast guard")), "Authority informed|Notified|Reported to authority",
            "Which authority was told?|Who was notified outside the organisation?",
            "Authority informed: {v}.|Outside bodies notified: {v}."),
        f("machine", f"{v.pick(DEVICES)} {v.code('M-19|A199|Nr. 19')}", "Equipment|Machine|Equipment involved|Device",
            "Which machine was involved?|What equipment played a part?", "The equipment involved was {v}.|"
            "Machine: {v}."),
    )  # fmt: skip
    titles = (
        "Incident report {number}|INCIDENT REPORT {number}|{org}\nIncident report {number}|{number}: {what}|"
        "Report on an incident at {org}: {what}|{org} – {what}, report {number}"
    )
    a, b = v.whole(5, 8), v.whole(12, 16)
    return Record("incident report", titles, {}, [Section("", facts[:a]), Section(v.pick(("People and harm", "Details",
        "")), facts[a:b]), Section(v.pick(("Findings and action", "Follow-up", "")), facts[b:])], plain=v.chance(0.4))
