"""Tables that any longer document may have: contacts, versions, dates, stock, actions, measurements, terms, tariffs."""

from __future__ import annotations

from collections.abc import Callable

from reread.training.office import words as w
from reread.training.office.record import Record, Table
from reread.training.office.values import Values

ACTIVITIES = """window cleaning|fire drill|stocktaking|boiler service|staff photograph|lift inspection|carpet cleaning
|flu vaccination|server move|open house|summer party|repainting of the hall|key handover|first-aid refresher
|replacement of the meters|survey of the roof|visit of the auditors|testing of the alarm|pest control|garden clearance
|harvest lunch|blood donation|bicycle check|chimney sweeping|waste collection|choir rehearsal|map reading course
|network outage|archive week|swap market""".replace("\n", "").split("|")
TASKS = """update the key list|order new chairs|repair the side door|draft a reply to the council|compare three offers
|renew the domain|book the hall|check the smoke detectors|print the leaflets|write to the insurers
|train the new volunteers
|label the cabinets|measure the corridor|collect the questionnaires|translate the notice|replace the batteries
|return the borrowed tables|scan the old files|call the electrician|publish the timetable|clear the store room
|revise the budget sheet|photograph the damage|prepare the grant form|test the backup|find a caterer""".replace(
    "\n", ""
).split("|")
CHANGES = """typing errors corrected|new section on safety|layout changed|address updated|table extended
|terms clarified|figures checked|annex added|wording simplified|obsolete items removed|references renewed
|logo replaced|limits adjusted|approved without comment""".replace("\n", "").split("|")
QUANTITIES = """pH value|turbidity|noise level|air humidity|surface temperature|bending strength|flow rate|dust content|
hardness|moisture|conductivity|torque|vibration|light level|viscosity|tensile strength|gap width|oil content|
sugar content|grain size|salt content|leak rate|coating thickness|shore hardness
|air speed""".replace("\n", "").split("|")
TERMS = """Site|Working day|Equipment|Confidential material|Visitor|Batch|Consumables|Handover|Fault|Spare part
|Peak hours
|Premises|User|Deliverable|Reserve|Downtime|Archive copy|Trial run|Core hours
|Common area""".replace("\n", "").split("|")
MEANINGS = """any place where the work is done|every day except weekends and public holidays
|all machines and tools on loan
|papers that are marked as such|a person without a badge of their own|goods made in one run
|materials that are used up in work
|the moment when the keys change hands|a state in which a function fails|a part that replaces a worn one
|the hours with the highest load|land and buildings named in the plan|anyone with a valid account
|a result that was promised
|stock that is kept for emergencies|time in which a system cannot be used|a copy kept outside the building
|a test before regular use|the time in which everyone must be present|an area that all parties may enter""".replace(
    "\n", ""
).split("|")


def rows_for(values: Values, room: int, width: int) -> int:
    return max(2, min(14, room // width, values.whole(3, 14)))


def contacts(values: Values, count: int) -> Table:
    host = values.host()
    roles = values.some(w.ROLES, count + 1)
    people = [values.person() for _ in range(count + 2)]
    rows = tuple((people[i], roles[i], values.phone(), values.email(people[i], host)) for i in range(count))
    return Table(
        values.pick(("Contacts", "People", "Who is who", "Contact list", "Team")),
        values.pick((("Name", "Role", "Phone", "E-mail"), ("Person", "Function", "Tel.", "Mail"),
                     ("Contact", "Position", "Telephone", "Email"))), rows,
        {1: "What is {row}'s role?|What does {row} do?|Which position does {row} hold?",
         2: "What is {row}'s phone number?|How can I reach {row} by phone?|Which number do I dial for {row}?",
         3: "What is the e-mail address of {row}?|Where can I write to {row}?|Which mail address does {row} have?"},
        "{0} ({1}) can be reached at {2} or {3}.", tuple(people[count:]), frozenset({"contact", "person"}),
        {1: "Who is the {cell}?|Who works as {cell}?|What is the name of the {cell}?",
         2: "Whose phone number is {cell}?|Who can be reached at {cell}?"},
    )  # fmt: skip


def versions(values: Values, count: int) -> Table:
    major = values.whole(1, 4)
    names = [f"{major + i // 4}.{i % 4}" for i in range(count + 1)]
    changes = values.some(CHANGES, count)
    rows = tuple((f"Rev. {names[i]}", values.date(-900 + 60 * i, -850 + 60 * i), values.person(titled=False),
                  changes[i % len(changes)]) for i in range(count))  # fmt: skip
    return Table(
        values.pick(("Revision history", "Changes", "Document history", "Previous versions")),
        values.pick((("Revision", "Dated", "Edited by", "Change"), ("Version", "Released", "Editor", "What changed"))),
        rows,
        {1: "When was {row} released?|What is the date of {row}?|When did {row} come out?",
         2: "Who edited {row}?|Who prepared {row}?|Whose work is {row}?",
         3: "What changed in {row}?|What was done in {row}?"},
        "{0} of {1} by {2}: {3}.", (f"Rev. {names[count]}",), frozenset({"version", "author"}),
        {3: "Which revision has the note \"{cell}\"?"},
    )  # fmt: skip


def schedule(values: Values, count: int) -> Table:
    names = values.some(ACTIVITIES, count + 2)
    rows = tuple((name, values.date(5, 300), values.time(7, 18), values.room()) for name in names[:count])
    return Table(
        values.pick(("Dates to note", "Calendar", "Coming up", "Other dates", "Timetable of works")),
        values.pick((("Activity", "Day", "Start", "Place"), ("What", "When", "From", "Where"))), rows,
        {1: "When is the {row}?|On which day does the {row} take place?|What day is set for the {row}?",
         2: "At what time does the {row} begin?|What time does the {row} start?",
         3: "Where is the {row}?|In which place will the {row} be held?"},
        "The {0} is on {1} at {2} ({3}).", tuple(names[count:]),
        back={1: "What happens on {cell}?|Which activity is planned for {cell}?",
              3: "What takes place in {cell}?|Which activity is held in {cell}?"},
    )  # fmt: skip


def stock(values: Values, count: int) -> Table:
    names = [values.thing() for _ in range(count + 2)]
    rows = tuple((n, values.code("AA-1999|19-999|A1999"), values.number(1, 2400), f"Bay {values.digits('A9')}-{i + 1}")
                 for i, n in enumerate(names[:count]))  # fmt: skip
    return Table(
        values.pick(("Stock", "Inventory", "List of equipment", "Items in store", "Equipment list")),
        values.pick((("Article", "Part no.", "In stock", "Location"), ("Object", "Code", "Count", "Shelf"))), rows,
        {1: "Which code does the {row} have?|What is the part number of the {row}?",
         2: "How many pieces of {row} are there?|How many of the {row} are in stock?",
         3: "Where is the {row} kept?|In which bay is the {row} stored?"},
        "{2} pieces of {0} (code {1}) are kept in {3}.", tuple(names[count:]),
        back={1: "Which article has the code {cell}?|What is listed under {cell}?", 3: "What is stored in {cell}?"},
    )  # fmt: skip


def actions(values: Values, count: int) -> Table:
    names = values.some(TASKS, count + 2)
    states = ("open", "done", "in progress", "waiting", "late")
    rows = tuple(
        (name, values.person(titled=False), values.date(3, 120), values.pick(states)) for name in names[:count]
    )
    return Table(
        values.pick(("Actions", "To do", "Open points", "Action list", "Next steps")),
        values.pick((("Task", "Owner", "Until", "State"), ("Action", "Responsible", "By", "Status"))), rows,
        {1: "Who is to {row}?|Who has to {row}?|Whose task is it to {row}?",
         2: "By when is somebody to {row}?|What is the deadline to {row}?",
         3: "How far is the task to {row}?|What is the state of the task to {row}?"},
        "{1} will {0} by {2} ({3}).", tuple(names[count:]),
        back={1: "What does {cell} have to do?|What is {cell}'s task?", 2: "Which task is due on {cell}?"},
    )  # fmt: skip


def measurements(values: Values, count: int) -> Table:
    names = values.some(QUANTITIES, count + 2)
    units = ("mg/l", "mm", "kPa", "N", "%", "µm", "K", "g", "V", "dB")
    rows = []
    for name in names[:count]:
        unit, places = values.pick(units), values.whole(0, 2)
        rows.append(
            (name, values.measure(1, 90, unit, places), values.measure(91, 400, unit), values.code("A-199|M19"))
        )
    return Table(
        values.pick(("Readings", "Measured values", "Test values", "Measurements")),
        values.pick((("Quantity", "Reading", "Limit", "Point"), ("Parameter", "Found", "Maximum", "Position"))),
        tuple(rows),
        {1: "What {row} was found?|Which value was measured for {row}?|How high was the {row}?",
         2: "What is the limit for {row}?|Up to which value is {row} allowed?",
         3: "At which point was {row} measured?|Where was {row} taken?"},
        "{0} at point {3} was {1}, with a limit of {2}.", tuple(names[count:]),
        back={1: "Which quantity came to {cell}?", 3: "What was measured at {cell}?"},
    )  # fmt: skip


def terms(values: Values, count: int) -> Table:
    pairs = values.some(list(zip(TERMS, MEANINGS, strict=True)), count + 2)
    rows, names = tuple(pairs[:count]), [name for name, _ in pairs]
    return Table(
        values.pick(("Definitions", "Terms used", "Glossary")),
        values.pick((("Term", "Meaning"), ("Word", "Explanation"))), rows,
        {1: "What does \"{row}\" mean?|How is \"{row}\" defined?|What is meant by {row}?"},
        "\"{0}\" means {1}.", tuple(names[count:]),
        back={1: "Which term means {cell}?|What do they call {cell}?"},
    )  # fmt: skip


SERVICES = {
    "first class letter": ("each", "per piece"), "express parcel": ("each", "per 5 kg"),
    "assembly": ("an hour", "per set"),
    "storage": ("a day", "a week", "a month"), "removal of packing": ("per pallet", "flat rate"),
    "gift box": ("each", "per set"), "Saturday delivery": ("each", "flat rate"), "engraving": ("per letter",),
    "loan unit": ("a day", "a week"), "night rate": ("an hour", "a night"), "travel by car": ("per 10 km", "an hour"),
    "second visit": ("each", "flat rate"), "extra copy": ("each", "per page"), "reprint": ("per page", "each"),
    "floor cleaning": ("an hour", "per room"), "colour print": ("per page", "per 10 pages"),
    "parking card": ("a month", "a year"), "lost badge": ("each", "flat rate"), "locker": ("a month", "a year"),
    "hall hire": ("an hour", "an evening"),
}  # fmt: skip


def tariffs(values: Values, count: int) -> Table:
    names = values.some(list(SERVICES), count + 2)
    rows = tuple((name, values.money(2, 60), values.pick(SERVICES[name])) for name in names[:count])
    return Table(
        values.pick(("Tariffs", "Fees for extras", "Other charges", "Extra services")),
        values.pick((("Service", "Fee", "Unit"), ("Extra", "Charge", "Basis"))), rows,
        {1: "How much is charged for {row}?|What is the fee for {row}?|What does {row} cost?",
         2: "On which basis is {row} charged?"},
        "For {0} we charge {1} {2}.", tuple(names[count:]),
        back={1: "Which service costs {cell}?|What can one get for {cell}?"},
    )  # fmt: skip


EXTRAS: dict[str, tuple[Callable[[Values, int], Table], int]] = {
    "contacts": (contacts, 75), "versions": (versions, 65), "schedule": (schedule, 60), "stock": (stock, 50),
    "actions": (actions, 60), "measurements": (measurements, 45), "terms": (terms, 55), "tariffs": (tariffs, 35),
}  # fmt: skip
NOT_WITH = {
    "laboratory report": {"measurements"}, "invoice": {"tariffs"}, "quotation": {"tariffs"},
    "recipe": {"measurements", "stock", "versions", "actions", "tariffs", "terms"},
    "CV": {"tariffs", "stock", "contacts", "measurements", "actions", "schedule", "versions", "terms"},
    "news item": {"tariffs", "versions", "measurements", "stock", "terms", "actions"},
    "abstract": {"tariffs", "actions", "stock", "contacts", "schedule"},
    "package metadata": {"tariffs", "schedule", "stock", "measurements"}, "minutes": {"contacts", "versions"},
    "event page": {"measurements", "versions", "actions"}, "product page": {"actions", "schedule", "versions"},
    "letter": {"versions", "measurements", "stock"}, "incident report": {"tariffs"},
    "lease": {"measurements", "actions", "schedule"},
}  # fmt: skip


def capacity(record: Record) -> int:
    rows = sum(sum(map(len, row)) + 8 for part in record.parts if isinstance(part, Table) for row in part.rows)
    return rows + sum(len(one.value) + 28 for one in record.facts) + 60


def add(values: Values, record: Record, target: int) -> None:
    """Adds tables until the record can fill most of `target` characters; fillers give the rest."""
    names = [name for name in values.some(list(EXTRAS), len(EXTRAS)) if name not in NOT_WITH.get(record.kind, ())]
    wish = target * (0.68 + 0.2 * values.random.random())
    while names:
        room = int(wish - capacity(record))
        if room < 260:
            return
        make, width = EXTRAS[names.pop()]
        table = make(values, rows_for(values, room, width))
        place = len(record.parts) if values.chance(0.7) else values.whole(1, len(record.parts))
        record.parts.insert(place, table)
