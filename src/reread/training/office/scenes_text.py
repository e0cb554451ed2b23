"""Scenes of running text: a news item, an abstract, a recipe, an event page that was changed."""

# ruff: noqa: E501
# fmt: off
from __future__ import annotations

from reread.training.office.scenes import Slots, cells
from reread.training.office.values import Values


def news(v: Values) -> tuple[Slots, str]:
    year = v.today.year
    s = {
        "town": v.town(), "next": v.town(), "what": v.pick(("bridge", "swimming pool", "school hall", "fire station", "tram line", "library", "market hall")), "day": v.date(-2, 0), "vote": v.date(-90, -30), "paper": v.coined() + " " + v.pick(("Courier", "Gazette", "Herald", "Echo")), "by": v.person(False),
        "plan": v.amount(v.whole(2, 5) * 100000 * 100, 0), "cost": v.amount(v.whole(6, 9) * 100000 * 100, 0), "gift": v.amount(v.whole(11, 90) * 1000 * 100, 0), "y_plan": str(year - v.whole(2, 4)), "y_open": str(year), "y_old": str(year - v.whole(60, 110)), "firm1": v.firm(), "firm2": v.firm(), "mayor": v.person(False), "mayor_old": v.person(False),
        "critic": v.person(False), "arch": v.person(False), "guests_plan": f"{v.whole(2, 4) * 100} guests", "guests": f"{v.whole(5, 9) * 100} guests", "len": v.span(20, 90, "metres"), "len_old": v.span(10, 19, "metres"), "pro": v.percent(51, 58), "contra": v.percent(30, 40), "months": v.span(14, 22, "months"), "months_plan": v.span(6, 12, "months"),
    }
    return s, """
%!
# {town} opens its new {what} [at last|in spite of everything|with a feast]
[By {by}, {paper}, {day}|{paper}, {day} ({by})]
? by: Reporter; Who wrote the article?; Author of the item
? paper: Newspaper; Which paper printed the item?; Published in
? day: Date of the article; When was the item printed?; Published on
~ Page; On which page is the item?
%!
The {what} in {town} cost {cost}, not {plan} as [planned|the council had hoped]. [It should have opened|The opening was planned] in {y_plan}; [visitors had to wait until|it became] {y_open}. Mayor {mayor} cut the ribbon; the work was begun under {mayor_old}. {guests} came, where {guests_plan} had been expected.
? what: Building opened; What was opened?; Subject of the report
? town: Place; Where was the {what} opened?; Town with the new {what}
? cost: Final cost; How much did the {what} cost in the end?; Actual cost
? plan: Planned cost; How much should the {what} have cost?; Cost as estimated
? y_plan: Year of opening as planned; When should it have opened?; Planned opening
? y_open: Year of opening in fact; When did it really open?; Actual opening
? mayor: Mayor now; Who cut the ribbon?; Present mayor
? mayor_old: Former mayor; Under whom was the work begun?; Mayor when work began
? guests: Guests who came; How many people came?; Actual number of guests
? guests_plan: Guests expected; How many people had been expected?; Expected number of guests
~ Population of {town}; How many people live in {town}?
~ Opening hours; When is the {what} open?
%
{firm1} began the work, but [gave up|withdrew]; {firm2} finished it after {months} instead of {months_plan}. The plans are by {arch}. The old {what}, {len_old} long, dated from {y_old}; the new one measures {len}.
? firm1: Firm that began; Which company started the work?; First builder
? firm2: Firm that finished; Which company completed the work?; Second builder
? months: Time needed; How long did the work take?; Actual building time
? months_plan: Time planned; How long should the work have taken?; Planned building time
? arch: Architect; Who drew the plans?; Designed by
? len: Length of the new {what}; How long is the new {what}?
? len_old: Length of the old {what}; How long was the old {what}?
? y_old: Year of the old {what}; From which year was the old {what}?
~ Number of workers; How many workers were there?
%
In the vote of {vote}, {pro} were in favour and {contra} against. {critic} still calls it a waste. [The neighbours in|The people of] {next} gave {gift}.
? vote: Date of the vote; When did people vote?; Voted on
? pro: Share in favour; What share voted for it?; Yes votes
? contra: Share against; What share voted against it?; No votes
? critic: Critic; Who is against the {what}?; Opponent
? next: Town that gave money; Which other town gave money?; Donor
? gift: Sum given; How much money was given by another town?; Donation
~ Turnout; How many people voted?
"""


def abstract(v: Values) -> tuple[Slots, str]:
    n1, n2 = v.whole(30, 190), v.whole(30, 190)
    s = {
        "title": v.pick(("Night light and the growth of cress", "Standing desks and back pain", "Rain barrels and water use", "Quiet rooms and reading speed", "Cold brewing and bitterness")), "a1": v.person(False), "a2": v.person(False), "i1": v.institute(), "i2": v.institute(), "mail": v.email("", v.host()),
        "asked": str(n1 + n2 + v.whole(20, 90)), "all": str(n1 + n2), "n1": str(n1), "n2": str(n2), "g1": v.pick(("treated group", "test group")), "g2": v.pick(("control group", "untreated group")), "m1": f"5{v.whole(1, 9)}.{v.whole(1, 9)}", "m2": f"2{v.whole(1, 9)}.{v.whole(1, 9)}", "b1": f"6{v.whole(1, 9)}.{v.whole(1, 9)}", "b2": f"3{v.whole(1, 9)}.{v.whole(1, 9)}",
        "p1": f"p = 0.0{v.whole(11, 49)}", "p2": f"p = 0.{v.whole(11, 89)}", "len": v.span(6, 12, "weeks"), "follow": v.span(14, 40, "weeks"), "fund": v.body(), "own": v.firm(), "sent": v.date(-200, -150), "rev": v.date(-140, -80), "acc": v.date(-70, -30), "pub": v.date(-20, 0), "reg": v.code("TR-19999|R199-99"), "data": v.url(), "age1": v.span(31, 44, "years"), "age2": v.span(45, 58, "years"),
        "drop1": v.span(2, 5, "persons"), "drop2": v.span(6, 12, "persons"),
    }
    return s, """
%!
> {title}
> {a1} ({i1}), {a2} ({i2})
[Corresponding author|Correspondence]: {a2.last}, {mail}
? title: Title of the paper; What is the paper called?
? a1: First author; Who is named first as an author?; Lead author
? i1: Affiliation of {a1}; Where does {a1} work?; Institution of the first author
? i2: Affiliation of {a2}; Where does {a2} work?; Institution of the second author
? mail: E-mail for correspondence; Where can one write to the authors?
~ Journal; In which journal did it appear?
~ Third author; Who is the third author?
%!
# [Methods|How we worked]
Of {asked} persons asked, {all} took part: {n1} in the {g1} (mean age {age1}), {n2} in the {g2} (mean age {age2}). [The trial ran|It lasted] {len}; [we followed them for|follow-up was] {follow}. {drop1} left the {g1} and {drop2} the {g2}.
? asked: Persons asked; How many people were invited?; Invited
? all: Persons who took part; How many took part in all?; Total number of participants
? n1: Size of the {g1}; How many were in the {g1}?; N, {g1}
? n2: Size of the {g2}; How many were in the {g2}?; N, {g2}
? age1: Mean age, {g1}; How old was the {g1} on average?
? age2: Mean age, {g2}; How old was the {g2} on average?
? len: Length of the trial; How long did the trial itself last?; Trial period
? follow: Follow-up; How long were people followed?; Time of observation afterwards
? drop1: Drop-outs, {g1}; How many left the {g1}?
? drop2: Drop-outs, {g2}; How many left the {g2}?
~ Share of women; How many of the participants were women?
%!
# [Results|What we found]
The score of the {g1} [fell|went down] from {b1} to {m1} ({p1}), that of the {g2} from {b2} to {m2} ({p2}).
? b1: Score of the {g1} at the start; What was the score of the {g1} before?; Baseline, {g1}
? m1: Score of the {g1} at the end; What was the score of the {g1} afterwards?; Final score, {g1}
? b2: Score of the {g2} at the start; What was the score of the {g2} before?; Baseline, {g2}
? m2: Score of the {g2} at the end; What was the score of the {g2} afterwards?; Final score, {g2}
? p1: p value, {g1}; How significant is the change in the {g1}?
? p2: p value, {g2}; How significant is the change in the {g2}?
~ Confidence interval; What is the confidence interval?
%
[Received|Submitted] {sent}, [revised|changed] {rev}, accepted {acc}, [published|online] {pub}. [Registered as|Trial number] {reg}. [Paid by|Funded by] {fund}; devices from {own}. Data: {data}.
? sent: Date of submission; When was the paper handed in?; Submitted on
? rev: Date of revision; When was the paper revised?; Revised on
? acc: Date of acceptance; When was the paper accepted?; Accepted on
? pub: Date of publication; When was the paper published?; Appeared on
? reg: Registration; Under which number is the trial registered?; Trial ID
? fund: Funding; Who paid for the study?; Sponsor
? own: Supplier of devices; Which company gave the devices?
? data: Data available at; Where are the data?
~ Ethics approval number; Under which number was the study approved?
"""


def recipe(v: Values) -> tuple[Slots, str]:
    dish = v.pick(("plum cake", "onion tart", "poppy roll", "leek pie", "apple slice", "cheese bread"))
    s = {
        "dish": dish, "cook": v.person(False), "home": v.town(), "serves": v.span(4, 8, "people"), "serves2": v.span(10, 12, "people"), "rest": v.span(20, 40, "minutes"), "rest2": v.span(2, 5, "hours"), "bake": v.span(41, 60, "minutes"), "bake2": v.span(8, 15, "minutes"), "t1": f"{v.whole(20, 23)}0 °C", "t2": f"{v.whole(15, 18)}0 °C", "fan": f"{v.whole(14, 19)}5 °C",
        "cool": v.span(61, 90, "minutes"), "keep": v.span(2, 4, "days"), "freeze": v.span(2, 4, "months"), "form": f"{v.whole(20, 24)} cm", "form2": f"{v.whole(26, 32)} cm", "wrong": v.pick(("margarine", "olive oil", "lard")), "wine": v.pick(("cold milk", "green tea", "cider")), "kcal": f"{v.whole(210, 390)} kcal", "kcal2": f"{v.whole(1900, 3900)} kcal", "swap": v.pick(("rye flour", "oat flour", "spelt flour")),
    }
    rows = [(name, f"{v.whole(5, 30)}0 g", f"{v.whole(1, 9)}5 g") for name in v.some(("Flour", "Butter", "Sugar", "Ground nuts", "Quark", "Semolina"), v.whole(3, 4))]
    table = cells(s, rows, ("[|Ingredient]", "[Dough|For the dough]", "[Topping|For the topping]"), {
        1: "@ for the dough; Dough: @; How much @ goes into the dough?", 2: "@ for the topping; Topping: @; How much @ is needed for the topping?"})
    return s, """
%!
# {dish~} [by|as made by] {cook}[, {home}| of {home}]
[Enough for {serves}|Serves {serves}] ({form} tin); [double|twice] the quantity in a {form2} tin is for {serves2}.
? dish: Dish; What is made?; Name of the recipe
? cook: Cook; Whose recipe is it?; Recipe from
? home: Home of the cook; Where is {cook} from?
? serves: Servings; For how many people is the recipe as it stands?; Number of eaters
? serves2: Servings with the double quantity; How many people can eat from the double quantity?
? form: Size of the tin; Which tin is needed for the single quantity?; Tin, single quantity
? form2: Tin for the double quantity; How large is the tin for twice the quantity?
~ Price of the ingredients; What do the ingredients cost?
%!
{table}
~ Eggs; How many eggs are needed?
~ Salt for the topping; How much salt goes into the topping?
%!
# [Method|Steps|How it is done]
Let the dough rest for {rest} (in the cold: {rest2}). Bake without topping for {bake2} at {t1}, then with topping for {bake} at {t2}. With a fan, {fan} is enough throughout. Let it cool for {cool}.
? rest: Rest of the dough; How long does the dough rest if not in the cold?; Dough rests for
? rest2: Rest in the cold; How long does the dough rest in the cold?
? bake2: Baking without topping; How long is it baked before the topping goes on?; First baking time
? bake: Baking with topping; How long is it baked with the topping on?; Second baking time
? t1: Heat without topping; At what heat is it first baked?; First oven temperature
? t2: Heat with topping; At what heat is it baked with the topping?; Second oven temperature
? fan: Heat with a fan; How hot should an oven with a fan be?; Fan oven
? cool: Cooling time; How long must it cool?
~ Mixing time; How long is the dough mixed?
%
# [Notes|Tips]
[Keeps|It keeps] {keep}, frozen {freeze}. Do not use {wrong}; {swap} may take the place of the flour. [Serve with|Goes well with] {wine}. A slice has {kcal}, the whole {kcal2}.
? keep: Keeps for; How long does it keep unfrozen?; Shelf life
? freeze: Keeps frozen for; How long does it keep in the freezer?; Shelf life, frozen
? wrong: Not to be used; What should not be used?; Unsuitable fat
? swap: Substitute for the flour; What can replace the flour?; Instead of flour
? wine: Drink to go with it; What is it served with?; Served with
? kcal: Energy per slice; How many calories does a slice have?; Calories, one piece
? kcal2: Energy of the whole; How many calories does all of it have?; Calories in total
~ Protein; How much protein is in a slice?
""".replace("{table}", table)


def event(v: Values) -> tuple[Slots, str]:
    s = {
        "name": v.pick(("Night of the lanterns", "Spring seed fair", "Open workshop day", "Town choir concert", "Chess tournament", "Flea market", "Talk on bees")), "host": v.body(), "sponsor": v.firm(), "old": v.date(20, 30), "new": v.date(31, 60), "reg": v.date(5, 9), "pay": v.date(10, 19), "place_old": v.room(), "place": v.room(), "addr": v.address(),
        "doors": v.time(9, 10), "start": v.time(11, 12), "end": v.time(17, 20), "p_mem": v.money(4, 9), "p_all": v.money(10, 19), "p_door": v.money(20, 29), "p_child": v.money(1, 3), "who": v.person(), "who_old": v.person(), "mod": v.person(), "stall": v.money(30, 60), "seats": f"{v.whole(8, 19) * 10} seats", "left": f"{v.whole(11, 39)} seats",
        "tel": v.phone(), "mail": v.email("", v.host()), "press": v.email("", v.host()), "bus": f"bus {v.whole(11, 99)}", "stop": v.town(), "age": v.pick(("6", "8", "10")) + " years",
    }
    return s, """
%!
# {name}
[Organised by|A day by|Organiser:] {host}[, with help from {sponsor}|; sponsor: {sponsor}]. [Note|Changed]: [moved|it is moved] from {old} to {new} and from {place_old} to {place} ({addr}).
? name: Event; What is the event called?; Title of the event
? host: Organiser; Who holds the event?; Run by
? sponsor: Sponsor; Which company helps with the event?; Supported by
? old: Former date; On which day should it have taken place?; Date before the change
? new: Date that now holds; On which day does it take place?; New date
? place_old: Former place; Where should it have taken place?; Place before the change
? place: Place that now holds; Where does it take place now?; New place
? addr: Address; What is the address of the event?; Street and town
~ Car park; Where can visitors park?
~ Rain date; What happens if it rains?
%!
[Doors|Doors open|Admission from] :: {doors}
[Starts|Begin|Beginning] :: {start}
[Ends|Until|Close] :: {end}
[Members|Price, members] :: {p_mem}
[Others|Price, guests|Non-members] :: {p_all}
[At the door|On the day] :: {p_door}
[Children under {age}|Under {age}] :: {p_child}
? doors: Time when doors open; From when can one go in?; Entry from
? start: Time of the beginning; At what time does the programme begin?; Programme starts
? end: Time of the end; At what time is it over?; Finishes at
? p_mem: Ticket for members; What do members pay?; Members' price
? p_all: Ticket for guests in advance; What do people pay who are not members?; Guest price
? p_door: Ticket bought on the day; What does a ticket cost at the door?; Box office price
? p_child: Ticket for young children; What does a child pay?; Child's ticket
? age: Age limit of the children's price; Up to what age is the low price for children?
~ Family ticket; What does a family ticket cost?
~ Price for students; What do students pay?
%
# [Programme|Who]
{who} [speaks|will speak] in place of {who_old}, who is ill. {mod} leads through the day. A stall costs {stall}.
? who: Speaker; Who speaks now?; Talk by
? who_old: Speaker who cannot come; Who was to speak at first?; Former speaker
? mod: Host of the day; Who leads through the day?; Moderator
? stall: Price of a stall; What does a stall cost?; Stall fee
~ Subject of the talk; What is the talk about?
%
# [Booking|Seats]
Of {seats}, {left} are free. [Book|Register] by {reg}, pay by {pay}. Bookings: {mail}, {tel}; press: {press}. Take {bus} to {stop}.
? seats: Seats in all; How many seats are there altogether?; Capacity
? left: Free seats; How many seats can still be had?; Seats left
? reg: Last day to book; By when must one book?; Registration until
? pay: Last day to pay; By when must one pay?; Payment until
? mail: E-mail for bookings; Where can seats be booked by mail?; Booking address
? press: E-mail for the press; Where can journalists write?; Press contact
? tel: Phone for bookings; Which number takes bookings?
? bus: Bus line; Which bus goes there?
? stop: Bus stop; At which stop does one get off?
~ Fee for cancelling; What does it cost to cancel?
"""


SCENES = {"news of an opening": news, "abstract of two groups": abstract, "recipe with topping": recipe, "moved event": event}
