"""News items, recipes, abstracts and product pages."""

# fmt: off
from __future__ import annotations

from reread.training.office import words as w
from reread.training.office.record import Record, Section, Table
from reread.training.office.record import fact as f
from reread.training.office.values import Values

PROJECTS = (
    "bridge", "swimming pool", "tram line", "library", "fire station", "wind farm", "bicycle path", "market hall",
        "flood wall", "clinic", "school kitchen", "solar park", "theatre", "ferry",
    "youth centre", "water tower", "railway halt", "recycling yard", "climbing hall", "footbridge", "museum",
)  # fmt: skip
FOODS = (
    "lentil", "pumpkin", "leek", "beetroot", "apple", "plum", "mushroom", "barley", "chickpea", "spinach", "walnut",
        "carrot", "potato", "cherry", "cabbage", "aubergine", "rhubarb", "fennel",
    "bean", "pear", "tomato", "poppy seed", "celery", "quince", "almond", "chestnut", "onion",
        "millet",
)  # fmt: skip
DISHES = (
    "soup|cake|stew|pie|salad|gratin|tart|curry|bread|dumplings|casserole|crumble|pancakes|risotto|chutney|loaf|"
    "fritters|noodles|muffins|terrine".split("|")
)
STUDIES = (
    ("evening light", "sleep", "adults"), ("blue screens", "sleep", "pupils"), ("cover crops", "soil erosion", "plots"),
        ("font size", "reading speed", "pupils"), ("daily walking", "knee pain", "patients"),
    ("pesticide drift", "bee colonies", "hives"), ("fly ash", "concrete cracks", "samples"), ("traffic lights",
        "urban noise", "streets"), ("indoor mould", "asthma", "children"), ("drip irrigation", "crop yield", "farms"),
    ("fast charging", "battery ageing", "cells"), ("free fruit", "school meals", "pupils"), ("dam removal",
        "river fish", "sites"), ("reminder letters", "tax compliance", "households"), ("yoga", "back pain", "nurses"),
    ("street lamps", "bird migration", "nests"), ("fluoride varnish", "tooth decay", "children"), ("bus lanes",
        "commuting time", "drivers"), ("music lessons", "arithmetic", "pupils"), ("wall posters", "hand hygiene",
        "nurses"),
    ("shift work", "blood sugar", "drivers"), ("hedgerows", "wind damage", "orchards"), ("lime treatment",
        "soil acidity", "fields"), ("peer tutoring", "exam marks", "students"), ("green roofs", "room temperature",
        "buildings"),
    ("curing time", "bond strength", "specimens"), ("late calving", "milk yield", "cows"), ("smart meters",
        "power use", "households"), ("cold storage", "seed germination", "batches"), ("mentoring", "staff turnover",
        "firms"),
)  # fmt: skip
SPICES = (
    "baking powder|paprika|cumin|nutmeg|ginger|mustard|thyme|dill|honey|soy sauce|lemon juice|cider vinegar|"
    "cornflour|cinnamon|turmeric|salt|chilli flakes|tomato paste".split("|")
)
SOLIDS = (
    "plain flour|brown sugar|butter|grated cheese|rice|oats|raisins|breadcrumbs|tofu|yoghurt|sour cream|red lentils|"
    "chopped nuts|pearl barley|ricotta|semolina".split("|")
)
LIQUIDS = "vegetable stock|olive oil|cream|coconut milk|white wine|milk|water|apple juice|beer|buttermilk".split("|")
SERIALS = ("Journal", "Annals", "Archives", "Letters", "Review")
SCOPES = ("Applied", "Public", "General", "Modern", "Northern", "Practical")
FIELDS = ("Ecology", "Medicine", "Materials", "Education", "Transport", "Agronomy", "Statistics")
TRAITS = (
    "mean score", "share of volunteers", "drop-out rate", "response rate", "visit count", "repeat error", "median rank",
    "first reading", "second reading", "last reading", "spread", "missing entries", "weekly total", "daily minimum",
    "daily maximum", "night value", "morning value", "check value", "index", "ratio to norm",
)
NUTRIENTS = "fat|saturated fat|carbohydrate|sugars|fibre|salt|starch|unsaturated fat|added sugar|water".split("|")


def amount_of(v: Values, name: str) -> str:
    if name in SPICES:
        return v.pick((f"{v.whole(1, 4)} tbsp", f"{v.whole(1, 6)} tsp", "half a teaspoon", f"{v.whole(2, 3)} pinches"))
    if name in LIQUIDS:
        return v.pick((f"{v.whole(2, 40) * 25} ml", f"{v.whole(1, 8)} dl", f"{v.whole(2, 4)} cups",
            f"{v.whole(2, 20)} fl oz"))
    return v.pick((f"{v.whole(2, 24) * 25} g", f"{v.whole(2, 4)} cups", f"{v.whole(2, 20)} oz",
        f"{v.whole(3, 45) * 10} g"))


def news(v: Values, size: int) -> Record:
    thing, town = v.pick(PROJECTS), v.town()
    paper = (
        f"{v.town_name()} {v.pick(('Courier', 'Gazette', 'Herald', 'Post', 'Observer', 'Daily', 'Chronicle', 'Echo'))}"
    )
    deed = v.pick(("opens", "to be rebuilt", "closed for repairs", "gets new owner", "plans approved", "work begins",
        "delayed again"))
    mayor, builder, coin = v.person(), v.firm(), v.pick(("euros", "dollars", "pounds", "kronor", "francs"))
    facts = (
        f("town", town, "Town|Place|City|Dateline", "In which town is the {thing}?|Which place is the report about?",
            "The news comes from {v}.|The {thing} in {v} is the talk of the day.|"
            "People in {v} have been waiting for the {thing}.", kept=True),
        f("date", v.date(-3, 0), "Date|Published|Publication date|Posted", "When was the report published?|"
            "On which day did the item appear?", "This report appeared on {v}.|Published on {v}."),
        f("author", v.person(titled=False), "By|Author|Reporter|Written by", "Who wrote the report?|"
            "Which reporter covered the story?", "{v} reports.|The report was written by {v}.", topic="author"),
        f("mayor", mayor, "Mayor|Head of the town|Town mayor", "Who is the mayor of {town}?|Who heads the town?",
            "Mayor {v} spoke of a great day for {town}.|\"We have waited long for this,\" said {v}, the mayor.|"
            "{v}, mayor of {town}, welcomed the news."),
        f("builder", builder, "Builder|Contractor|Building firm", "Which company does the building work?|"
            "Who builds the {thing}?", "The work is done by {v}.|{v} won the contract for the work.", v.firm()),
        f("architect", v.person(), "Architect|Designed by|Designer", "Who designed the {thing}?|Who is the architect?",
            "The {thing} was designed by {v}.|The plans are by the architect {v}."),
        f("cost", v.pick((f"{v.whole(2, 90)} million {coin}", f"{v.whole(11, 99) / 10} million {coin}")),
            "Cost|Costs|Price|Total cost", "How much does the {thing} cost?|What is the price of the project?",
            "The {thing} costs {v}.|In all, {v} will be spent.|The town expects costs of {v}.",
            f"{v.whole(91, 160)} million {coin}"),
        f("grant", f"{v.whole(100, 990)},000 {coin}", "Grant|State grant|Subsidy",
            "How much does the state add?|What grant does {town} receive?", "The state adds {v}.|"
            "A grant of {v} helps to pay for it."),
        f("opening", v.date(60, 700), "Opening|Opening date|Opens on|Completion",
            "When will the {thing} be finished?|On which day is the opening?",
            "The {thing} is to be finished on {v}.|The opening is planned for {v}.", v.date(701, 900)),
        f("began", v.date(-500, -60), "Start of work|Work began|Begun on", "When did the work begin?|"
            "On what day did the builders start?", "Work began on {v}.|The builders started on {v}."),
        f("size", v.pick((f"{v.whole(30, 900)} metres", f"{v.whole(2, 40)} kilometres", f"{v.whole(2, 90)} hectares",
            f"{v.whole(300, 9000):,} square metres")), "Size|Length or area|Extent",
            "How large is the {thing}?|What size will it have?", "It will measure {v}.|The site covers {v}."),
        f("visitors", v.number(500, 90000) + " a year", "Visitors|Expected visitors|Users",
            "How many visitors are expected?|How many people will use it each year?",
            "The town expects {v} to come.|The number of visitors is put at {v}."),
        f("jobs", v.span(14, 400, "jobs"), "Jobs|New jobs|Jobs created", "How many jobs does the project bring?|"
            "How many people will find work?", "It will bring {v}.|The project creates {v}."),
        f("vote", f"{v.whole(11, 30)} to {v.whole(1, 10)}", "Council vote|Vote|Votes",
            "How did the council vote?|What was the result of the vote?", "The council voted {v} in favour.|"
            "The vote was {v}."),
        f("critic", v.person(), "Critic|Opponent|Spokesperson of the opponents",
            "Who speaks against the {thing}?|Who leads the opponents?",
            "{v}, who leads the opponents, called it a waste of money.|"
            "Not everyone agrees: {v} has collected names against it."),
        f("names", v.number(200, 9000), "Signatures|Names collected|Petition",
            "How many people signed against it?|How many signatures were collected?",
            "Opponents collected {v} signatures.|The petition has {v} names."),
        f("oldest", str(v.whole(1820, 1990)), "Built in|Old building of|Year of old building",
            "In which year was the old {thing} built?|How old is the old one, from what year?",
            "The old {thing} was built in {v}.|Its predecessor dates from {v}."),
        f("neighbour", v.person(titled=False), "Resident|Neighbour|Quoted resident",
            "Which neighbour is quoted?|Who lives next to the {thing}?",
            "\"I can hear the machines from my kitchen,\" said {v}, who lives next door.|"
            "{v}, a neighbour, brought cake for the workers."),
        f("closed", v.pick(("Monday to Thursday", "every second weekend", "until the end of spring", "at night only",
            "during school holidays", "on weekdays after six")), "Road closed|Closure|Traffic closure",
            "When is the road closed?|At what times is there no traffic?", "The road is closed {v}.|"
            "There will be no traffic {v}."),
    )  # fmt: skip
    titles = (
        "{town}: {thing} {deed}|{thing_} in {town} {deed}|{paper} – {thing_} {deed}|{town}'s {thing} {deed}|"
        "{thing_} {deed}, says mayor of {town}|{town}, {thing} {deed}".replace(", says mayor of {town}", " in {town}")
    )
    a, b = v.whole(4, 7), v.whole(10, 14)
    parts: list[Section | Table] = [Section("", facts[:a]), Section("", facts[a:b]),
        Section(v.pick(("", "Background", "The project")), facts[b:])]
    if size > 500:
        parts.append(briefs(v, min(18, size // 90), thing))
    names = {"thing": thing, "thing_": thing.capitalize(), "deed": deed, "paper": paper}
    return Record("news item", titles, names, parts, plain=True, mail=False)


def recipe(v: Values, size: int) -> Record:
    dish = f"{v.pick(FOODS)} {v.pick(DISHES)}"
    name = (
        v.pick((v.town_name(), f"{v.surname()}'s", v.coined(), f"Aunt {v.pick(w.FIRST_NAMES)}'s")) + " " + dish
    )
    oven = v.whole(8, 24) * 10
    facts = (
        f("name", name, "Recipe|Dish|Name|Title", "Which dish is made?|What is the recipe called?",
            "Today we make {v}.|This is how to make {v}.", kept=True),
        f("serves", v.pick((f"{v.whole(2, 12)} people", f"{v.whole(2, 12)} servings", f"{v.whole(4, 30)} pieces",
            f"{v.whole(1, 3)} loaves")), "Serves|Yield|Makes|Portions", "How many does it serve?|"
            "How much does the recipe make?", "It makes enough for this many: {v}.|Yield: {v}.",
            f"{v.whole(13, 40)} people"),
        f("prep", v.span(5, 55, "minutes"), "Preparation|Prep time|Preparation time|Work time",
            "How long does the preparation take?|How much time is needed before cooking?",
            "Preparation takes {v}.|You will be busy for {v} before cooking."),
        f("cook", v.span(56, 95, "minutes"), "Cooking time|Baking time|Time in the oven|Cook",
            "How long must it cook?|How many minutes does the {dish} need on the heat, without preparation?",
            "It cooks for {v}.|Leave it on the heat for {v}.", v.span(96, 120, "minutes")),
        f("rest", v.pick((v.span(2, 24, "hours"), "overnight", v.span(100, 180, "minutes"))),
            "Resting time|Rest|Standing time|Chill for", "How long must it rest?|What is the resting time?",
            "Resting time: {v}.|Let it stand: {v}."),
        f("temp", v.pick((f"{oven} °C", f"{oven} °C fan", f"{oven * 9 // 5 + 32} °F", f"gas mark {v.whole(2, 8)}",
            f"{oven} degrees")), "Oven|Oven temperature|Temperature|Heat", "How hot must the oven be?|"
            "At what temperature is it baked?", "Heat the oven to {v}.|The oven is set to {v}.", f"{oven + 15} °C"),
        f("level", v.pick(("easy", "medium", "difficult", "for beginners", "needs practice", "very easy")),
            "Difficulty|Level|Skill level", "How difficult is it?|What level is the recipe?",
            "Level: {v}.|Difficulty: {v}."),
        f("cuisine", v.pick(("Moroccan", "Alsatian", "Nordic", "Tuscan", "Punjabi", "Basque", "Bavarian", "Cantonese",
            "Lebanese", "Cornish", "Georgian", "Oaxacan")), "Cuisine|Origin|Kitchen|Region",
            "Which cuisine does the dish belong to?|Where does the dish come from?",
            "It is a {v} dish.|The dish is {v}."),
        f("author", v.person(titled=False), "Recipe by|Author|From the kitchen of|Cook",
            "Whose recipe is it?|Who wrote the recipe?", "The recipe is by {v}.|{v} gave us this recipe.",
                topic="author"),
        f("energy", v.pick((v.measure(120, 900, "kcal"), v.measure(500, 3400, "kJ"))),
            "Energy|Calories|Energy per serving", "How many calories does it have?|How much energy is in one serving?",
            "One serving has {v}.|Energy: {v}."),
        f("protein", v.measure(2, 60, "g"), "Protein|Protein per serving|Protein content", "How much protein is in it?|"
            "What is the amount of protein?", "There are {v} of protein in it.|Protein: {v}."),
        f("pan", v.pick(("26 cm springform", "large casserole", "deep frying pan", "loaf tin", "cast iron pot",
            "two baking trays", "muffin tray", "gratin dish", "wok", "stock pot")), "Pan|Tin|Equipment|Dish to use",
            "Which pan is needed?|What is it cooked or baked in?", "Use this: {v}.|Equipment: {v}."),
        f("keeps", v.pick((v.span(2, 9, "days") + " in the fridge", v.span(2, 6, "months") + " in the freezer",
            "until the next day", v.span(2, 4, "weeks") + " in a jar")), "Keeps|Storage|Shelf life",
            "How long does it keep?|How can it be stored, and for what time?", "It keeps {v}.|Storage: {v}."),
        f("allergens", ", ".join(v.some(("milk", "gluten", "nuts", "egg", "celery", "sesame", "mustard", "soya"),
            v.whole(1, 3))), "Allergens|Contains|Allergy note", "Which allergens does it contain?|"
            "What should people with allergies know?", "Allergens: {v}.|It contains {v}."),
        f("serve", v.pick(("green salad", "mashed potatoes", "whipped cream", "toasted rye bread", "pickled onions",
            "plain rice", "vanilla sauce", "roasted seeds", "a glass of cider", "mint tea")),
            "Serve with|Goes with|Side dish", "What is it served with?|What goes well with the {dish}?",
            "Serve it with {v}.|It goes well with {v}."),
        f("diet", v.pick(("vegetarian", "low-carb", "low-salt", "kosher", "halal", "high-fibre")),
            "Diet|Suitable for|Dietary note", "For which diet is it suitable?|What kind of diet does it fit?",
            "It is {v}.|Diet: {v}."),
        f("season", v.pick(("autumn", "spring", "early summer", "winter", "all year", "late summer")),
            "Season|Best in|Time of year", "In which season is it best?|When in the year is it cooked?",
            "Its season: {v}.|Best time of year: {v}."),
        f("cost", v.money(1, 9) + " a portion", "Cost|Price per portion|Cost per serving",
            "How much does a portion cost?|What does it cost to make?", "It costs {v}.|Reckon with {v}."),
    )  # fmt: skip
    count = v.whole(3, max(3, min(12, size // 45)))
    names = v.some(SPICES + SOLIDS + LIQUIDS, count + 2)
    rows = tuple((n, amount_of(v, n)) for n in names[:count])
    table = Table(v.pick(("Ingredients", "You need", "Shopping list")), v.pick((("Ingredient", "Amount"), ("What",
        "How much"))), rows, {1: "How much {row} is needed?|What amount of {row} goes in?|"
        "What quantity of {row} does the recipe call for?"}, "You need {1} of {0}.", tuple(names[count:]))
    titles = "{name}|Recipe: {name}|{name} ({cuisine_})|How to make {name}|{name}\nA recipe for every day|{NAME}"
    names_ = {"dish": dish, "cuisine_": v.pick(("family recipe", "quick version", "our favourite", "simple",
        "from the archive")), "NAME": name.upper()}
    cut = v.whole(4, 8)
    parts: list[Section | Table] = [Section("", facts[:cut]), table]
    if size > 250:
        parts.append(nutrients(v, min(8, size // 120)))
    if size > 700:
        parts.append(more_dishes(v, min(16, size // 110)))
    parts.append(Section(v.pick(("Method", "Notes", "More", "")), facts[cut:]))
    return Record("recipe", titles, names_, parts, plain=v.chance(0.3))


def nutrients(v: Values, count: int) -> Table:
    names = v.some(NUTRIENTS, count + 2)
    rows = tuple((name, v.measure(0.1, 30, "g", 1), v.measure(31, 90, "g", 1)) for name in names[:count])
    asks = {
        1: "How much {row} is in 100 g?|What amount of {row} do 100 g contain?",
        2: "How much {row} does a serving have?|What amount of {row} is in one serving?",
    }
    columns = v.pick((("Nutrient", "Per 100 g", "Per serving"), ("Nutrition", "100 g", "Serving")))
    return Table(v.pick(("Nutrition", "Nutrition facts", "What is in it")), columns, rows, asks,
                 "Of {0} there are {1} in 100 g and {2} in a serving.", tuple(names[count:]))


def more_dishes(v: Values, count: int) -> Table:
    dishes = [f"{a} {v.pick(DISHES)}" for a in v.some(FOODS, count + 2)]
    rows = tuple((one, v.span(15, 95, "minutes"), str(v.whole(2, 12)), v.pick(("easy", "medium", "demanding")),
                  v.person(titled=False)) for one in dishes[:count])
    asks = {
        1: "How long does the {row} take?|How many minutes are needed for {row}?",
        2: "How many people does the {row} feed?|For how many is the {row}?",
        3: "How hard is the {row} to make?|What level is the {row}?",
        4: "Who sent in the {row}?|From whom is the {row}?",
    }
    columns = v.pick((("Other dish", "Minutes", "Feeds", "Effort", "Sent in by"),
                      ("Dish list", "Takes", "For", "How hard", "Reader")))
    return Table(v.pick(("More recipes", "Readers also cook", "From the same book")), columns, rows, asks,
                 "{0} takes {1}, feeds {2}, is {3} and was sent in by {4}.", tuple(dishes[count:]),
                 back={4: "Which dish did {cell} send in?"})


def briefs(v: Values, count: int, own: str) -> Table:
    """Projects of other towns; none is of the sort that the item itself is about."""
    others = [one for one in PROJECTS if one not in own and own not in one]
    towns = [v.town() for _ in range(count + 2)]
    rows = tuple((one, f"{v.pick(('new', 'larger', 'old', 'second', 'first'))} {v.pick(others)}", v.date(20, 900),
                  v.person(titled=False)) for one in towns[:count])
    asks = {
        1: "What is planned in {row}?|Which project does {row} have?",
        2: "When does {row} expect to finish?|By which date will {row} be done?",
        3: "Who speaks for {row}?|Who gave the news from {row}?",
    }
    columns = v.pick((("Other towns", "Project", "Ready on", "Spokesperson"),
                      ("Elsewhere", "Plan", "Done by", "Voice")))
    return Table(v.pick(("In brief", "News from the region", "Elsewhere in the county")), columns, rows, asks,
                 "{0} plans this: {1}, to be ready on {2}, says {3}.", tuple(towns[count:]),
                 back={3: "For which town does {cell} speak?"})


def baseline(v: Values, count: int) -> Table:
    names = v.some(TRAITS, count + 2)
    rows = tuple((one, v.measure(1, 60, "", 1), v.measure(61, 99, "", 1), f"{v.whole(101, 990) / 1000}")
                 for one in names[:count])
    asks = {
        1: "What was the {row} in group A?|How high was {row} in the first group?",
        2: "What was the {row} in group B?|How high was {row} in the second group?",
        3: "What is the p value for {row}?|How likely is the difference in {row} by chance?",
    }
    columns = v.pick((("Trait", "Group A", "Group B", "p"), ("Variable", "Group A", "Group B", "p (two-sided)")))
    return Table(v.pick(("Table 1", "Baseline values", "Groups compared")), columns, rows, asks,
                 "The {0} was {1} in group A and {2} in group B (p = {3}).", tuple(names[count:]))


def abstract(v: Values, size: int) -> Record:
    factor, matter, group = v.pick(STUDIES)
    total = v.whole(24, 9000)
    place = v.pick([country[0] for country in w.COUNTRIES])
    first, second = v.person(titled=False), v.person(titled=False)
    facts = (
        f("authors", f"{first} and {second}" if v.chance(0.6) else f"{first}, {second}", "Authors|By|Written by",
            "Who wrote the paper?|Who are the authors?", "This work is by {v}.|The authors are {v}.", kept=True,
            topic="author"),
        f("institute", v.institute(), "Affiliation|Institution|Institute", "Where do the authors work?|"
            "Which institution did the study?", "The study was done at {v}.|The authors work at {v}."),
        f("journal",
            f"{v.pick(SERIALS)} of {v.pick(SCOPES)} {v.pick(FIELDS)}",
            "Journal|Published in|Source", "In which journal did the paper appear?|Where was it published?",
            "It appeared in the {v}.|The paper was published in the {v}."),
        f("doi", v.code("10.5555/aa.1999.999|10.5555/199999|10.5555/A19-999"), "DOI|Identifier|DOI number",
            "What is the DOI?|Under which identifier can the paper be found?",
            "The DOI is {v}.|It can be found under {v}."),
        f("received", v.date(-300, -150), "Received|Submitted|Date of submission",
            "When was the paper submitted?|On which day did the journal receive it?",
            "It was submitted on {v}.|The journal received it on {v}."),
        f("accepted", v.date(-100, -10), "Accepted|Date of acceptance|Accepted on",
            "When was the paper accepted?|On what day was it accepted, not submitted?",
            "It was accepted on {v}.|Acceptance came on {v}.", v.date(-140, -110)),
        f("aim", f"effect of {factor} on {matter}", "Aim|Objective|Purpose|Research question",
            "What was studied?|What did the authors want to know?", "We studied the {v}.|"
            "The aim was to measure the {v}.", kept=True),
        f("design", v.pick(("randomised trial", "cohort study", "field experiment", "cross-sectional survey",
            "case-control study", "crossover trial", "meta-analysis", "laboratory experiment", "pilot study",
            "before-and-after study")), "Design|Study design|Type of study", "What kind of study was it?|"
            "Which design was used?", "The study was a {v}.|We did a {v}."),
        f("sample", f"{total:,} {group}", "Sample|Sample size|Participants|Subjects",
            "How many {group} were studied?|How large was the sample?", "We included {v}.|In all, {v} took part.",
            f"{total + v.whole(10, 90):,} {group}"),
        f("lost", f"{v.whole(2, 23)} {group}", "Lost to follow-up|Excluded|Dropped out",
            "How many dropped out?|How many {group} were left out?", "During the study, {v} dropped out.|"
            "We excluded {v}."),
        f("place", place, "Country|Setting|Study area", "In which country was the study done?|"
            "Where did it take place?", "It took place in {v}.|The data come from {v}."),
        f("length", v.span(2, 11, "months") if v.chance(0.5) else v.span(2, 12, "years"),
            "Duration|Follow-up|Study period", "How long did the study last?|For how long were the {group} followed?",
            "The {group} were followed for {v}.|The study lasted {v}."),
        f("result", v.pick((f"{v.whole(11, 60)}%", f"{v.whole(110, 600) / 10} points",
            f"{v.whole(2, 9)}.{v.whole(1, 9)} units")), "Main result|Improvement|Mean change",
            "By how much did the outcome improve?|What was the main result?",
            "With {factor}, the outcome improved by {v}.|The mean change was {v}."),
        f("control", v.pick((f"{v.whole(1, 9)}%", f"{v.whole(1, 80) / 10} points")),
            "Control group|Change in controls|Result in controls", "What change was seen in the control group?|"
            "How did the controls do?", "In the control group, the change was {v}.|Controls changed by {v}."),
        f("p", v.pick((f"p = 0.0{v.whole(10, 49)}", "p < 0.001", f"p = 0.{v.whole(11, 60)}", "p < 0.01")),
            "Significance|p value|P-value", "How significant was the result?|What p value is reported?",
            "The result had {v}.|Significance: {v}."),
        f("ci", f"{v.whole(1, 9)}.{v.whole(1, 9)} to {v.whole(10, 29)}.{v.whole(1, 9)}",
            "95% CI|Confidence interval|Interval", "What is the confidence interval?|"
            "Within which interval does the effect lie?", "The confidence interval was {v}.|"
            "The effect lies in the interval {v}."),
        f("method", v.pick(("logistic regression", "mixed models", "Cox regression", "analysis of variance",
            "bootstrap tests", "Bayesian hierarchical models", "paired t tests", "random forests")),
            "Analysis|Statistics|Statistical method", "How were the data analysed?|Which statistical method was used?",
            "Data were analysed with {v}.|We used {v}."),
        f("funding", f"{v.surname()} {v.pick(('Foundation', 'Fund', 'Trust', 'Endowment'))}",
            "Funding|Funded by|Sponsor|Grant from", "Who paid for the study?|Which body funded the work?",
            "The work was funded by the {v}.|Money came from the {v}."),
        f("grant", v.code("G-1999|AA199/9|Y-999-A|19-99-99"), "Grant number|Grant no.|Award no.",
            "What is the grant number?|Under which grant was the work done?", "The grant has the number {v}.|"
            "Grant {v} paid for the work."),
        f("registered", v.code("NCT09999999|TR-199999|ISRN19999999"), "Registration|Trial registration|Register no.",
            "Under which number is the study registered?|What is the registration number?",
            "It is registered as {v}.|The registration number is {v}."),
        f("contact", v.email(first), "Correspondence|Corresponding author's e-mail|Contact",
            "Where can readers write to?|What is the address for correspondence?",
            "Readers may write to {v}.|Correspondence: {v}.", topic="contact"),
        f("keywords",
            f"{matter}; {factor}; {v.pick(('prevention', 'trial', 'cohort', 'monitoring', 'policy', 'modelling'))}",
            "Keywords|Key words|Index terms", "Which keywords are given?|How is the paper indexed?",
            "Keywords: {v}.|Index terms: {v}."),
    )  # fmt: skip
    titles = (
        "{Factor} and {matter}: {twist}\n{authors}|Effect of {factor} on {matter} – {authors}|"
        "{Factor} and {matter} in {group} ({authors})|{authors}\n{Factor} and {matter}|"
        "{authors}: {Factor} and {matter}"
    )
    names = {"Factor": factor[:1].upper() + factor[1:], "factor": factor, "matter": matter, "group": group,
        "twist": v.pick(
        (f"a study of {total:,} {group}", f"evidence from {v.town_name()}", f"the {v.coined()} study",
        f"results of the {v.coined().upper()} project"))}
    shown = [one for one in facts if one.key != "sample" or not names["twist"].startswith("a study")]
    a, b = v.whole(4, 8), v.whole(12, 15)
    parts: list[Section | Table] = [
        Section("", tuple(shown[:a])), Section(v.pick(("", "Methods", "Abstract")), tuple(shown[a:b])),
        Section(v.pick(("", "Results", "Findings")), tuple(shown[b:])),
    ]
    if size > 400:
        parts.insert(v.whole(2, 3), baseline(v, min(20, size // 90)))
    return Record("abstract", titles, names, parts, plain=True, mail=False)


def product(v: Values, size: int) -> Record:
    name, maker, shop = v.brand(), v.firm(), f"{v.coined()} {v.pick(('Store', 'Shop', 'Direct', 'Market', 'Online'))}"
    thing = v.pick(("desk lamp", "backpack", "tent", "office chair", "kettle", "headphones", "bicycle helmet",
        "garden hose", "rain jacket", "toaster", "yoga mat", "suitcase", "wall clock", "frying pan", "bookshelf",
        "water bottle", "hammock", "hand mixer", "cat tree", "sleeping bag", "step ladder"))
    price = v.whole(900, 60000)
    facts = (
        f("name", name, "Product|Name|Model|Article", "Which product is on sale?|What is the {thing} called?",
            "The {v} is a {thing} for every day.|Meet the {v}.", kept=True),
        f("maker", maker, "Brand|Manufacturer|Maker|By", "Who makes the {name}?|Which brand is it?",
            "It is made by {v}.|{v} makes the {name}.", kept=True),
        f("price", v.amount(price), "Price|Our price|Now|Sale price", "How much does the {name} cost now?|"
            "What is the price today?|What do customers pay, not the list price?",
            "It costs {v}.|You can have it for {v}.", v.amount(price + 350)),
        f("list", v.amount(price + v.whole(5, 90) * 100), "List price|RRP|Recommended price|Regular price",
            "What was the price before the sale?|What is the recommended price?",
            "The list price is {v}.|In other shops you would pay {v}."),
        f("sku", v.code("199999|AA-1999|19.999.99|B9A19999|199-AAA"), "SKU|Article number|Item no.|Product code",
            "What is the article number?|Under which code is it listed?", "The article number is {v}.|"
            "It is listed as {v}.", v.code("199999|AA-1999")),
        f("ean", v.code("4199999999999|1999999999999"), "EAN|Barcode|GTIN", "Which barcode does the {name} have?|"
            "What is the EAN?", "The barcode is {v}.|EAN {v}."),
        f("colour", v.pick(w.COLOURS), "Colour|Color|Finish", "Which colour is shown?|"
            "What colour does the {thing} have?", "It comes in {v}.|The colour is {v}.", v.pick(w.COLOURS)),
        f("material", v.pick(("cotton canvas", "ripstop nylon", "beech wood", "borosilicate glass", "merino wool",
            "stainless steel", "recycled polyester", "cork", "silicone", "hemp", "ash wood", "enamelled steel")),
            "Material|Made of|Fabric|Main material", "What is the {thing} made of?|Which material was used?",
            "It is made of {v}.|The material is {v}."),
        f("size", f"{v.whole(10, 90)} x {v.whole(10, 80)} x {v.whole(4, 60)} cm",
            "Dimensions|Size|Measures|Size (W x H x D)", "How large is the {name}?|What are the dimensions?",
            "It measures {v}.|The dimensions are {v}."),
        f("weight", v.pick((v.measure(90, 990, "g"), v.measure(1, 24, "kg", 1), v.measure(1, 20, "lb", 1))),
            "Weight|Item weight|Net weight", "How heavy is the {thing}?|What does the {name} weigh?",
            "It weighs {v}.|The weight is {v}."),
        f("stars", f"{v.whole(31, 49) / 10} out of 5", "Rating|Customer rating|Average rating|Stars",
            "How do customers rate it?|What is the average rating?", "Customers give it {v}.|Its rating is {v}."),
        f("reviews", v.number(3, 4800), "Reviews|Number of reviews|Customer reviews",
            "How many reviews are there?|How many customers wrote a review?", "There are {v} reviews.|"
            "So far {v} customers wrote a review."),
        f("stock", v.pick(("in stock", "only 3 left", "sold out", "available again in May", "12 pieces left",
            "on back order", "last piece")), "Availability|Stock|In store", "Is the {name} available?|"
            "What is said about stock?", "Availability: {v}.|Stock: {v}."),
        f("delivery", v.pick((v.span(2, 9, "working days"), "next day", "24 to 48 hours", v.span(2, 5, "weeks"))),
            "Delivery time|Ships within|Delivery|Shipping time", "How long does delivery take?|"
            "How soon will the {thing} arrive?", "Delivery time: {v}.|Reckon with this delivery time: {v}."),
        f("shipping", v.money(2, 19), "Shipping|Postage|Shipping cost|Delivery fee",
            "How much is the postage?|What does shipping cost?", "Shipping costs {v}.|We charge {v} for postage."),
        f("returns", v.span(14, 100, "days"), "Returns|Return period|Right of return",
            "How long can it be sent back?|Within what time are returns possible?",
            "You can return it within {v}.|Returns are possible for {v}."),
        f("warranty", v.span(1, 12, "years"), "Warranty|Guarantee|Warranty period",
            "How long is the warranty?|For how many years does {maker} guarantee the {name}?",
            "The warranty is {v}.|{maker} gives {v} of warranty."),
        f("origin", v.pick([country[0] for country in w.COUNTRIES]), "Made in|Country of origin|Origin",
            "In which country is it made?|Where does the {thing} come from?", "It is made in {v}.|It comes from {v}."),
        f("designer", v.person(titled=False), "Design|Designer|Designed by", "Who designed the {name}?|"
            "Whose design is it?", "It was designed by {v}.|The design is by {v}."),
        f("care", v.pick(("hand wash only", "machine wash at 30 °C", "wipe clean", "dishwasher safe", "do not bleach",
            "oil once a year", "dry clean")), "Care|Care instructions|Cleaning",
            "How should it be cleaned?|What care does the {thing} need?", "Care: {v}.|For cleaning: {v}."),
        f("included", v.pick(("carry bag", "two spare bulbs", "USB cable", "repair kit", "wall plugs and screws",
            "recipe booklet", "set of stickers", "extra strap", "cleaning cloth")),
            "Included|In the box|Comes with|Scope of delivery", "What comes with it?|"
            "What is in the box besides the {thing}?", "In the box you also find: {v}.|It comes with this: {v}."),
        f("seller", shop, "Sold by|Shop|Seller|Shipped by", "Which shop sells it?|Who is the seller, not the maker?",
            "It is sold by {v}.|You can buy it at {v}.", kept=True),
        f("code", v.code("AAAA19|SAVE-AA9|SPRING19-A"), "Voucher|Discount code|Promo code",
            "Which code gives a discount?|What must be typed in to save money?",
            "Use the code {v} to save.|The voucher code is {v}."),
    )  # fmt: skip
    titles = (
        "{name} {thing}|{maker} {name}|{name} {thing} – {seller}|{seller}: {name}|{maker} {name}, {thing}|"
        "Buy {name} {thing} at {seller}"
    )
    cut = v.whole(6, 12)
    details = v.pick(("Product details", "Details", "Specifications", ""))
    parts: list[Section | Table] = [Section("", facts[:cut]), Section(details, facts[cut:])]
    if size > 800 or (size > 150 and v.chance(0.5)):
        count = max(v.whole(2, max(2, min(6, size // 100))), min(16, size // 130))
        brands = [v.brand() for _ in range(count + 2)]
        rows = tuple((one, v.amount(v.whole(900, 60000)), v.measure(0.2, 20, "kg", 1)) for one in brands[:count])
        parts.insert(v.whole(1, 2), Table(v.pick(("Compare", "Similar products", "Other models")), v.pick((("Model",
            "Costs", "Weighs"), ("Name", "Shop price", "kg"))), rows,
            {1: "How much is the {row}?|What does the {row} cost?", 2: "How much does the {row} weigh?|"
                "How heavy is the {row}?"}, "The {0} costs {1} and weighs {2}.", tuple(brands[count:]),
                    back={1: "Which model can be had for {cell}?"}))
    return Record("product page", titles, {"thing": thing}, parts, mail=False)
