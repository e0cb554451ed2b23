"""Scenes of trade: invoices, orders, quotations, data sheets, manuals, sales, each with values that resemble others."""

# ruff: noqa: E501
# fmt: off
from __future__ import annotations

from reread.training.office.scenes import Slots, cells
from reread.training.office.values import Values


def letter_invoice(v: Values) -> tuple[Slots, str]:
    total = v.whole(900, 9000) * 100
    paid = total * v.pick((10, 15, 20, 25, 30, 40)) // 100
    s = {
        "seller": v.firm(), "buyer": v.firm() if v.chance(0.6) else v.person(), "house": v.body(), "sa": v.address(), "ba": v.address(),
        "ga": v.address(), "no": v.code("A/1999/Y|Y-1999|R 19/9999|FA 1999/19|19.999-9|1999/A/Y|AA Y 999"),
        "order": v.code("B 19-999|199999/9|AB.1999|Z1999-A"), "sv": v.code("GB199999999|DE199999999|PT 199 999 999|IT 19999999999|EE199999999"),
        "bv": v.code("ATU19999999|BE 0199.999.999|FR 19 199999999|NL199999999B91|FI19999999"),
        "loaded": v.date(-20, -14), "arrived": v.date(-13, -8), "issued": v.date(-7, 0), "due": v.date(14, 40), "discount_day": v.date(3, 9),
        "carrier": v.firm(), "driver": v.person(False), "net": v.amount(total * 100 // 120), "tax": v.amount(total - total * 100 // 120),
        "total": v.amount(total), "paid": v.amount(paid), "left": v.amount(total - paid), "discount": v.pick(("2 %", "3 %", "1.5 %", "2.5 %")),
        "paid_on": v.date(-60, -30), "iban": v.code("DE19 9999 9999 9999 9999 99|GB19 AAAA 1999 9999 9999 99"), "clerk": v.person(),
        "boss": v.person(), "pallets": v.span(2, 24, "pallets"), "weight": v.measure(140, 4800, "kg"), "phone": v.phone(), "mail": v.email(),
        "fee": v.money(8, 60), "goods": v.thing(),
    }  # fmt: skip
    return s, """
%!
> [{seller}|{seller^}], {sa}
> [INVOICE|Invoice|Bill|Tax invoice]
[Invoice|Invoice no.|Our number|Bill|Document] :: {no}
[Date|Issued|Invoice date|Date of issue] :: {issued}
[Your order|Order|PO|Order ref.] :: {order}
[VAT (seller)|Our VAT|VAT of seller] :: {sv}
[Your VAT|VAT (buyer)|Customer VAT] :: {bv}
? seller: Vendor; Issued by; Company that bills; Who is to be paid?; Which firm wrote this invoice?; Who sold the goods?
? no: Invoice number; Bill no.; Document number; Which number does the bill carry?; How is this invoice numbered?
? issued: Billing date; Date of the bill; When was the invoice made out?; On which day did {seller} bill the goods?
? order: Purchase order; Buyer's reference; Which order is being billed?; Order that this belongs to
? sv: VAT ID of the seller; Seller's tax number; Under which VAT number does {seller} trade?; What is the VAT number of the vendor?
? bv: VAT ID of the buyer; Purchaser's tax number; What is the VAT number of the party who pays?; Which VAT number does {buyer} have?
? sa: Seller's address; Where is {seller} located?; Registered address of the vendor
~ Customer number; What is {buyer}'s customer number?
~ Quotation number; Which quotation came before the order?
%!
[Bill to|Invoice to|Sold to|Charged to] :: {buyer}, {ba}
[Ship to|Delivered to|Goods to|Consignee] :: {house}, {ga}
? buyer: Purchaser; Client; Party that pays; Who owes the money?; To whom is the bill made out?
? ba: Billing address; Where does the invoice go?; Address for bills
? house: Recipient of the goods; Consignee; Which body gets the goods?; Who receives the delivery, not the bill?
? ga: Place of delivery; To which address were the goods brought?; Where was the delivery made?
%
# [Transport|Delivery|Carriage]
The goods ({pallets}, {weight}) were loaded on {loaded} and [arrived|were handed over|reached you] on {arrived}. [Carrier: {carrier}, driver {driver}.|They
were [brought|carried|moved] by {carrier}; {driver} was at the wheel.]
? loaded: Date of loading; When did the goods leave?; On what day was the lorry loaded?; Dispatch date
? arrived: Date of arrival; When did the goods get there?; On which day were the goods handed over?; Date of receipt
? carrier: Haulage firm; Forwarder; Transport company; Which company moved the goods?; Who transported the goods?
? driver: Name of driver; Who drove the goods?; Lorry driver
? weight: Gross weight; How heavy was the load?; Weight of consignment
? pallets: Number of pallets; How many pallets were sent?
~ Licence plate; Which number plate did the lorry have?
~ Time of arrival; At what hour did the lorry arrive?
%!
[Net|Goods, net|Sum before tax] :: {net}
[VAT|Tax|Sales tax] :: {tax}
[Total|Gross|Sum with tax|Invoice total] :: {total}
[Less deposit of {paid_on}|Already paid ({paid_on})|Down payment {paid_on}|Advance of {paid_on}] :: {paid}
[Amount due|Still to pay|Remaining|Balance|Payable now] :: {left}
? net: Amount without tax; Subtotal; What do the goods cost before tax?; How much is it net?
? tax: Amount of VAT; How much tax is in the sum?; Tax charged
? total: Gross amount; Sum including tax; What does everything come to with tax?; What is the total before the advance is taken off?
? paid: Advance payment; Prepaid sum; Deposit; How much has been paid already?; What sum was paid in advance?
? paid_on: Date of the advance payment; When was the deposit paid?; On which day did the advance come in?
? left: Outstanding amount; Open balance; Left to pay; What remains to be paid?; How much does {buyer} still owe?
~ Discount code; Which discount code was used?
%
# [Payment|How to pay|Terms]
Please pay by {due}[.| to {iban}.|; our account is {iban}.] If we have the money by {discount_day}, you may take off {discount}. A reminder costs {fee}.
? due: Last day to pay; Payment deadline; Until when can the sum be paid in full?; By which day is the money expected?
? discount_day: Discount until; By when must one pay to get the discount?; Last day with discount
? discount: Early payment discount; Cash discount; How much may be taken off for early payment?
? iban: Account to pay into; Bank account; Which account should the money go to?
? fee: Reminder charge; Dunning fee; What does a reminder cost?
~ Interest on late payment; What interest is charged after the due date?
%
Questions about the bill: {clerk}[, {phone}|, {mail}]. Complaints about the goods: {boss}.
? clerk: Contact for billing; Whom can one ask about the bill?; Person for questions on the invoice
? boss: Contact for complaints; Who takes complaints about the goods?; Complaints to
? phone: Telephone; Which number can be called about the bill?
? mail: E-mail for billing; Where can questions on the bill be mailed?
~ Sales representative; Who sold the goods in person?
"""


def amended_order(v: Values) -> tuple[Slots, str]:
    items = [v.thing() for _ in range(4)]
    s = {
        "buyer": v.body() if v.chance(0.5) else v.firm(), "seller": v.firm(), "no": v.code("PO 19-9999|45/199/A|B-1999.9|Y/AA/199"),
        "old_no": v.code("PO 18-9999|44/199|A-1999.9"), "ordered": v.date(-9, -6), "approved": v.date(-5, -3), "sent": v.date(-2, 0),
        "wanted_old": v.date(15, 25), "wanted": v.date(26, 50), "clerk": v.person(), "chief": v.person(), "store": v.person(),
        "maker": v.coined(), "a": items[0], "b": items[1], "c": items[2], "d": items[3], "limit": v.money(2000, 9000, 0),
        "total_old": v.money(900, 4900), "total": v.money(5000, 9900), "days_a": v.span(2, 5, "working days"), "days_b": v.span(6, 12, "weeks"),
        "pen": v.pick(("0.5 %", "1 %", "2 %")), "pen_max": v.pick(("5 %", "8 %", "10 %")), "gate": f"gate {v.digits('1A')}", "hours": v.hours(),
        "bill_mail": v.email("", v.host()), "ord_mail": v.email("", v.host()),
    }  # fmt: skip
    rows = []
    for name in items[:3]:
        old, new = v.whole(2, 40), v.whole(41, 120)
        rows.append((name, str(old), str(new), v.money(3, 80)))
    table = cells(s, rows, ("Item", "[Ordered first|Old qty|Was]", "[Now|New qty|Amended]", "[Each|Price|Unit price]"), {
        1: "Original quantity of @; @, old quantity; How many pieces of the @ were ordered at first?; How many of the item @ did the first order have?",
        2: "Quantity of @ now; New quantity: @; How many pieces of the @ are wanted now?; How many of the item @ are ordered after the change?",
        3: "Price of one @; @: unit price; What does one @ cost?; What is paid for each @?",
    })  # fmt: skip
    return s, f"""
%!
> [PURCHASE ORDER {{no}}, AMENDED|Change to order {{no}}|Order {{no}} (amended copy)]
[Buyer|From|Ordering body|Ordered by] :: {{buyer}}
[To|Supplier|Vendor] :: {{seller}}
[Ordered|Order date|Date of order] :: {{ordered}}
[Approved|Released|Approval] :: {{approved}}[, {{chief}}| by {{chief}}]
[Change sent|Amended|This copy] :: {{sent}}
? no: Order number; Purchase order no.; Which order is changed?; Reference of this order
? buyer: Customer; Purchaser; Who orders the goods?; Which body buys?
? seller: Supplier; Who is to deliver?; Company that gets the order
? ordered: Date of the first order; When was the order placed?; On which day did {{buyer}} order?
? approved: Approval date; When was the order released?; On what day was the purchase approved?
? chief: Approver; Who released the order?; By whom was the purchase approved?
? sent: Date of the amendment; When was the change sent out?; Date of this copy
~ Delivery note number; Which delivery note belongs to the order?
~ Budget holder; Whose budget pays for the order?
%!
# [Goods|Items|What we order]
{table}
%
# [Delivery|Time and place]
The goods were wanted by {{wanted_old}}; [the new date is|we now expect them by|this is changed to] {{wanted}}. [Deliver|Bring them] to {{gate}}, {{hours}}, and
ask for {{store}}.
? wanted_old: Delivery date before the change; Original delivery date; By when were the goods wanted at first?
? wanted: Required by; Delivery date as amended; By when must the goods come now?; New delivery date
? gate: Place of unloading; At which gate are the goods taken in?; Where should the lorry go?
? hours: Delivery hours; During which hours are goods taken in?; Opening times of the gate
? store: Person at goods-in; Whom should the driver ask for?; Who takes the goods in?
~ Packing instructions; How must the goods be packed?
%
# [Substitutes|Replacements]
[The|Only the] {{b}} may be replaced by goods of another make; the {{c}} must be by {{maker}}.
? b: Item that may be replaced; Which item may be of another make?; For which article is a substitute allowed?
? c: Item of a fixed make; Which item must be of a certain make?; Article that needs a certain brand
? maker: Make required; Whose make must the {{c}} be?; Brand of the {{c}}
%
# [Sum|Value|Price]
The order was worth {{total_old}} and is now worth {{total}}. Orders above {{limit}} need a second signature.
? total_old: Value of the first order; What was the order worth before the change?; Old order total
? total: Order value; New total; How much does the order come to now?; What is the order worth after the change?
? limit: Limit for one signature; Above what sum is a second signature needed?
%
# [Late delivery|Delay]
For each week of delay we take off {{pen}}, at most {{pen_max}}. Missing parts are to be sent within {{days_a}}, goods made to measure within {{days_b}}.
? pen: Penalty per week; How much is taken off for a week of delay?; Weekly deduction
? pen_max: Maximum penalty; What is the most that can be deducted?; Upper limit of the deduction
? days_a: Time to send missing parts; How quickly must missing parts be sent?
? days_b: Time for goods made to measure; How long may goods made to measure take?
~ Warranty; How long is the warranty on the goods?
%
# [Papers|Contacts]
Send bills to {{bill_mail}} and order confirmations to {{ord_mail}}. {{clerk}} [keeps|handles|looks after] this order. It replaces order {{old_no}}, which was never sent.
? bill_mail: E-mail for invoices; Where do bills go?; Mail address for billing
? ord_mail: E-mail for confirmations; To which address is the order confirmed?
? clerk: Buyer in charge; Who looks after the order?; Handled by
? old_no: Replaced order; Which earlier order does this one take the place of?; Order that is void
~ Phone number of the buyer; On which number is the purchasing office reached?
"""


def options_quote(v: Values) -> tuple[Slots, str]:
    thing = v.pick(("garage door", "glass roof", "staircase", "fitted wardrobe", "garden shed", "heat pump", "front door", "pergola", "sauna", "stove"))
    parts = v.some(("frame", "motor", "glass", "paintwork", "seals", "remote control", "hinges", "lock", "labour"), 3)
    s = {
        "firm": v.firm(), "client": v.person(), "no": v.code("Q 199/Y|19-A-999|OF.1999|199/A/19|Y.199"), "date": v.date(-6, 0), "until": v.date(20, 60),
        "measured": v.date(-30, -10), "rep": v.person(False), "fitter": v.person(False), "thing": thing,
        "p1": parts[0], "p2": parts[1], "g1": v.span(2, 5, "years"), "g2": v.span(6, 12, "months"),
        "base": v.money(2000, 4900), "ex1": v.money(150, 900), "ex2": v.money(901, 1900), "extra1": v.pick(("installation", "removal of the old one", "disposal")),
        "extra2": v.pick(("a second key set", "an insect screen", "a wall switch", "weekend work")), "dep": v.pick(("30 %", "25 %", "a third", "40 %")),
        "mid": v.pick(("half", "50 %", "60 %")), "wk1": v.span(3, 5, "weeks"), "wk2": v.span(6, 9, "weeks"), "disc": v.percent(2, 4),
        "disc2": v.percent(5, 9), "old": v.money(5000, 6900), "wide": v.measure(1200, 2900, "mm"), "high": v.measure(3000, 4100, "mm"),
        "addr": v.address(), "site": v.address(), "phone": v.phone(), "cell": v.phone(), "vat": v.pick(("19 %", "21 %", "8 %", "23 %", "25 %")),
    }  # fmt: skip
    return s, """
%!
# [Quotation|Offer|Estimate] {no}
[From|Company|Offer by] :: {firm}, {addr}
[For|Client|Prepared for|Customer] :: {client}
[Site|Place of work|Building] :: {site}
[Date|Written on|Offer date] :: {date}
[Valid until|Open until|Price holds until|Expires] :: {until}
? no: Quotation number; Offer no.; Reference; Which number does the quotation have?
? firm: Bidder; Who makes the offer?; Contractor; Company that quotes
? client: Customer; Addressee; Who asked for the price?; To whom is the offer made?
? site: Installation address; Where will the {thing} be fitted?; Place of installation
? addr: Address of the company; Where is {firm} based?
? date: Offer date; When was the quotation written?; Quoted on
? until: Validity; How long does the price hold?; Last day to accept; Offer ends
~ Order number; Which order followed the offer?
~ Client's date of birth; When was {client} born?
%!
# [Scope|Work|What you get]
One {thing}, {wide} wide and {high} high, as measured on {measured} by {rep}. {fitter} will [fit|install] it.
? thing: Object; What is offered?; Product quoted
? wide: Width; How wide is the {thing}?
? high: Height; How high is the {thing}?
? measured: Date of measuring; When was the opening measured?; Survey date
? rep: Measured by; Who took the measurements?; Surveyor
? fitter: Fitter; Who will put in the {thing}?; Installation by
~ Colour; Which colour will the {thing} have?
~ Weight; How heavy is the {thing}?
%!
# [Prices|What it costs]
The {thing} costs {base}[, all parts included|]. {extra1~} is {ex1} more; {extra2} would be {ex2}. [Our offer of last year was {old}.|Last year's price was {old}.]
? base: Base price; Price of the {thing}; What does the {thing} itself cost?; Price without extras
? ex1: Price of {extra1}; How much is {extra1}?; {extra1~}: surcharge
? ex2: Price of {extra2}; What would {extra2} cost?; {extra2~}: price
? old: Price in the former offer; How much was asked last year?; Earlier price
~ Travel costs; How much is charged for travel?
%
# [Payment|How you pay]
{dep~} when you order, {mid} on delivery, the rest after the work. With payment in one sum we take off {disc}, [for members|with our customer card] {disc2}. Prices are with {vat} tax.
? dep: Deposit; First instalment; Advance on order; How much must be paid with the order?
? mid: Second instalment; What share is paid on delivery?; Payment on delivery
? disc: Discount for one payment; What is taken off if everything is paid at once?
? disc2: Discount for members and card holders; What is taken off with a membership or customer card?
? vat: Tax rate; Which rate of tax is in the price?; VAT
~ Bank account; To which account is the deposit paid?
%
# [Time|Delivery]
[We deliver|Delivery is] {wk1} after the order, in winter {wk2}.
? wk1: Delivery time; How long does delivery usually take?; Lead time
? wk2: Delivery time in winter; How long is the wait in winter?
~ Start of work; On which date does the work begin?
%
# [Guarantee|Warranty]
[We guarantee|The guarantee is] {g1} for the {p1} and {g2} for the {p2}.
? g1: Guarantee on the {p1}; How long is the {p1} covered?; Warranty, {p1}
? g2: Guarantee on the {p2}; For how long is the {p2} guaranteed?; Warranty, {p2}
~ Service interval; How often must the {thing} be serviced?
%
[Office|Office phone|Desk] :: {phone}
[On site|Mobile|Fitters] :: {cell}
? phone: Office number; Number of the office; On which number is the office reached?
? cell: Number on site; Mobile number; Which number do the fitters answer?
~ E-mail; What is {firm}'s e-mail address?
"""


def two_parts(v: Values) -> tuple[Slots, str]:
    pair = v.pick((("resin", "hardener"), ("base", "activator"), ("powder", "liquid"), ("primer", "top coat"), ("gel", "catalyst")))
    s: Slots = {
        "name": f"{v.coined().upper()} {v.digits('199')}", "maker": v.firm(), "use": v.pick(("joints in stone", "boat decks", "timber floors", "metal stairs",
        "garage floors", "tanks", "window frames")), "issue": str(v.whole(11, 19)), "old": v.digits("1") if v.chance(0.5) else f"{v.whole(2, 9)}.{v.whole(0, 9)}",
        "date": v.month(-300, 0), "old_date": v.month(-1500, -400), "ratio": f"{v.whole(2, 9)} : {v.whole(1, 3)}", "vratio": f"{v.whole(10, 30)} : {v.whole(4, 9)}",
        "pot": v.span(14, 55, "minutes"), "dry": v.span(2, 9, "hours"), "full": v.span(3, 10, "days"), "tmin": f"{v.whole(3, 9)} °C", "tmax": f"{v.whole(28, 38)} °C",
        "ttest": f"{v.whole(18, 25)} °C", "sa": v.span(19, 36, "months"), "sb": v.span(5, 18, "months"), "da": v.measure(1.1, 1.7, "g/ml", 2),
        "db": v.measure(0.8, 1.09, "g/ml", 2), "ca": v.pick(("grey", "white", "amber", "clear")), "cb": v.pick(("blue", "red", "black", "green")),
        "a": pair[0], "b": pair[1], "pack_s": v.pick(("400 g", "250 ml", "500 g")), "pack_l": v.pick(("5 kg", "12 kg", "20 l")), "str1": v.measure(8, 19, "MPa"),
        "str7": v.measure(22, 60, "MPa"), "clean": v.pick(("acetone", "warm water", "white spirit", "ethanol")), "doc": v.code("TDS 199|AA 19/99|T-199.A|1999/AA"),
        "phone": v.phone(), "chem": v.person(), "tel24": v.phone(),
    }  # fmt: skip
    rows = [("[Colour|Shade]", s["ca"], s["cb"]), ("[Density|Specific weight]", s["da"], s["db"]), ("[Shelf life|Keeps for|Storage life]", s["sa"], s["sb"])]
    table = [" || ".join(("[Property|]", "Part A ({a})", "Part B ({b})"))]
    table += [" || ".join((label, "{" + one + "}", "{" + two + "}")) for (label, *_), one, two in zip(rows, ("ca", "da", "sa"), ("cb", "db", "sb"), strict=True)]
    return s, """
%!
> [{name}|{maker} {name}|Technical data sheet: {name}]
> [{doc}|Sheet {doc}]   [issue|Issue] {issue}, {date}   [replaces issue|instead of issue|supersedes issue] {old}, {old_date}
? name: Trade name; Product; What is the product called?; Which product is described?
? doc: Sheet number; Document no.; Number of the data sheet
? issue: Issue of the sheet; Which issue is this?; Current issue
? date: Date of issue; When was this issue published?; Of which month is this sheet?
? old: Replaced issue; Which issue is no longer valid?; What issue came before this one?
? old_date: Date of the replaced issue; From which month is the earlier issue?
%!
{maker} makes {name} for {use}. It is [a mixture of two parts|mixed from two parts], {a} and {b}.
? maker: Manufacturer; Producer; Who makes the product?; Which company stands behind {name}?
? use: Intended use; Application; What is it meant for?
~ CAS number; Country of origin; In which country is it made?
%!
""" + "\n".join(table) + """
? ca: Colour of the {a}; Colour of part A; What colour is the {a}?; Part A, shade
? cb: Colour of the {b}; Colour of part B; What colour is the {b}?; Part B, shade
? da: Density of the {a}; Density, part A; How dense is the {a}?
? db: Density of the {b}; Density, part B; How dense is the {b}?
? sa: Shelf life of the {a}; How long does the {a} keep?; Part A keeps for
? sb: Shelf life of the {b}; How long does the {b} keep?; Part B keeps for
~ Viscosity of the {a}; How thick is the {a}?; Flash point; At what temperature does it catch fire?
%!
# [Mixing|Use|Processing]
Mix {a} and {b} {ratio} by weight ({vratio} by volume). Work between {tmin} and {tmax}. [At {ttest} the mixture can be worked for {pot},|The mixture stays workable for {pot} (at {ttest}),]
is dry to the touch after {dry} and fully hard after {full}.
? ratio: Mixing ratio by weight; In which ratio are the parts weighed?
? vratio: Mixing ratio by volume; In what ratio are the parts mixed by volume?
? tmin: Lowest working temperature; How cold may it be at work?; Minimum temperature
? tmax: Highest working temperature; Up to which temperature can one work?; Maximum temperature
? pot: Working time; Pot life; How long can the mixture be worked?; Open time
? dry: Touch dry after; When can the surface be touched?; Drying time
? full: Full hardness after; When is it completely hard?; Curing time
~ Number of coats; How many coats are needed?
%
# [Strength|Values]
The strength is {str1} after one day and {str7} after seven.
? str1: Strength after one day; How strong is it after 1 day?; 24-hour strength
? str7: Strength after a week; How strong is it after seven days?; 7-day strength
~ Hardness (Shore D); What hardness is reached?
%
# [Packs|Sizes]
[Sold in packs of|It comes in|Pack sizes:] {pack_s} for repairs and {pack_l} for trade. Clean tools with {clean}.
? pack_s: Small pack; Which pack is meant for repairs?; Pack for repairs
? pack_l: Trade pack; Large pack; How much is in the pack for trade users?
? clean: Cleaner for tools; What are tools cleaned with?; Solvent
~ Price; What does a pack cost?
%
[Technical advice|Advice|Questions] :: {chem}, {phone}
[In an emergency|Emergency|Poison line] :: {tel24}
? chem: Adviser; Who answers technical questions?; Contact for advice
? phone: Phone for advice; On which number is advice given?
? tel24: Emergency number; Which number does one call in an emergency?
~ Website; Opening hours of the advice line; When is the advice line open?
"""


def two_models(v: Values) -> tuple[Slots, str]:
    kind = v.pick(("pump", "mower", "generator", "outboard engine", "sewing machine", "snow blower", "compressor", "chipper", "coffee machine", "tiller"))
    name = v.coined()
    low, high = v.some(("4", "6", "8", "12", "16", "20", "30", "45"), 2)
    s: Slots = {"kind": kind, "m1": f"{name} {low}", "m2": f"{name} {high}", "maker": v.firm(), "cleaner": v.pick(("soapy water", "a dry cloth", "fresh water")),
         "idle1": v.span(2, 9, "weeks"), "idle2": v.span(3, 6, "months"), "h1": v.span(18, 30, "hours"), "h2": v.span(90, 140, "hours"),
         "first": v.span(4, 12, "hours"), "pa": v.code("A1-9999|1999-A9|19.999.9"), "pb": v.code("B1-9999|A1999-9|18.999.9"), "ta": v.measure(8, 14, "Nm"),
         "tb": v.measure(17, 44, "Nm"), "warm": v.span(2, 8, "minutes"), "fuse": v.pick(("10 A", "15 A", "20 A")), "page": str(v.whole(21, 99)),
         "part_a": v.pick(("inlet filter", "drive belt", "blade bolt", "drain plug")), "part_b": v.pick(("air filter", "seal kit", "shear pin", "guide wheel")),
         "wrong": v.pick(("car oil", "paraffin", "a steel brush", "hot water")), "volt": v.measure(11, 14, "V", 1), "sign": v.pick(("white smoke", "a hard knock",
         "a smell of burning", "foam in the glass", "a red lamp")), "hot": v.phone()}  # fmt: skip
    rows = []
    for label, a, b in v.some((("Oil quantity", v.measure(0.3, 0.9, "l", 2), v.measure(1.1, 2.4, "l", 2)), ("Oil grade", "SAE 30", "10W-40"),
        ("Spark plug", v.code("A1A|AA9-1"), v.code("B1AA|AA1-A")), ("Idle speed", v.measure(700, 1100, "rpm"), v.measure(1200, 1900, "rpm")),
        ("Weight", v.measure(14, 29, "kg"), v.measure(31, 70, "kg")), ("Tank", v.measure(1, 4, "l", 1), v.measure(5, 12, "l", 1)),
        ("Noise", f"{v.whole(71, 84)} dB", f"{v.whole(86, 99)} dB"), ("Belt length", v.measure(500, 790, "mm"), v.measure(800, 1200, "mm"))), 5):  # fmt: skip
        rows.append((label, a, b))
    table = cells(s, rows, ("", "{m1}", "{m2}"), {1: "@ of the {m1}; @, {m1}; {m1}: @; What is given as @ for the {m1}?; Which value does the {m1} have under @?",
                  2: "@ of the {m2}; @, {m2}; {m2}: @; What is given as @ for the {m2}?; Which value does the {m2} have under @?"})  # fmt: skip
    return s, f"""
%!
# [Care of the {{kind}}|Maintenance|Service]
This [chapter|section] is for the {{m1}} and the {{m2}}[ by {{maker}}|, both made by {{maker}}]. Never clean the {{kind}} with {{wrong}}; {{cleaner}} will do.
? maker: Manufacturer; Brand owner; Who builds the {{m1}}?; Which company makes these models?
? kind: Type of machine; What sort of machine is this about?
? wrong: Not allowed for cleaning; What must not be used to clean the {{kind}}?
? cleaner: Clean with; What is enough to clean the {{kind}}?; Cleaning agent
~ Serial number; Where is the serial number found?
~ Year of manufacture; In which year was the {{kind}} built?
%!
{table}
~ Fuel; Which fuel does the {{m1}} take?
~ Battery type; What battery does the {{m2}} have?
%
# [Intervals|When to service]
Change the oil after the first {{first}}, then every {{h1}}; have the {{kind}} overhauled every {{h2}}. Let it run warm for {{warm}} before.
? first: First oil change after; When is the oil changed for the first time?
? h1: Oil change interval; How often is the oil changed later on?; Oil changes every
? h2: Overhaul interval; After how many hours is an overhaul due?; Overhaul every
? warm: Warm-up time; How long should it run before the oil is changed?
~ Cost of an overhaul; What does an overhaul cost?
%
# [Parts|Spare parts]
{{part_a~}}: [order|part|no.] {{pa}}, tighten to {{ta}}. {{part_b~}}: [order|part|no.] {{pb}}, tighten to {{tb}}.
? pa: Part number of the {{part_a}}; Under which number is the {{part_a}} ordered?; {{part_a~}}, part no.
? pb: Part number of the {{part_b}}; Under which number is the {{part_b}} ordered?; {{part_b~}}, part no.
? ta: Torque for the {{part_a}}; How firmly is the {{part_a}} tightened?
? tb: Torque for the {{part_b}}; How firmly is the {{part_b}} tightened?
~ Price of the {{part_a}}; What does the {{part_b}} cost?
%
# [Storage|Out of season]
If it stands still for more than {{idle2}}, empty the tank. [Turn it over|Start it] once every {{idle1}}. The battery should show {{volt}}; the fuse is {{fuse}}.
? idle2: Empty the tank if unused for; After how long unused is the tank emptied?
? idle1: Interval of starting in storage; How often is it started while stored?
? volt: Battery voltage; What should the battery show?
? fuse: Fuse; How strong is the fuse?
~ Storage temperature; How cold may the store room be?
%
# [Faults|Trouble]
Stop at once if you notice {{sign}} (see page {{page}}). [Help|Our help line]: {{hot}}.
? sign: Reason to stop; When must it be stopped at once?; Alarm sign
? page: See page; On which page is more about this?
? hot: Help line; Which number helps with faults?
~ Error code; Which error code is shown?
"""


def car_sale(v: Values) -> tuple[Slots, str]:
    km = v.whole(30, 150)
    s = {
        "make": v.coined(), "model": f"{v.coined()} {v.digits('19')}", "seller": v.person(), "buyer": v.person(), "owner1": v.person(False),
        "owner2": v.person(False), "price": v.money(3000, 9900, 0), "asked": v.money(11000, 15900, 0), "new_price": v.money(21000, 34000, 0),
        "km": f"{km},{v.digits('199')} km", "km_old": f"{km - v.whole(5, 20)},{v.digits('199')} km", "built": str(v.today.year - v.whole(6, 9)),
        "reg": str(v.today.year - v.whole(4, 5)), "last": v.month(-500, -200), "next": v.month(100, 600), "plate": v.code("AA-A 199|AA19 AAA|1-AAA-99|AAA 199"),
        "vin": v.code("AA1AA99A1A9999999|A1AAA99999A199999"), "keys": v.pick(("two keys", "one key", "three keys")), "winter": v.pick(("steel", "alloy")) + " rims",
        "fault": v.pick(("a scratch on the left door", "a worn clutch", "a cracked mirror", "rust at the sill", "a dent in the bonnet")),
        "repaired": v.pick(("the exhaust", "the starter", "the water pump", "the rear window", "the handbrake")), "repair_cost": v.money(120, 900),
        "garage": v.firm(), "handover": v.date(3, 9), "signed": v.date(-2, 0), "rest": v.money(500, 1900, 0), "town": v.town(), "colour": v.pick(("grey", "dark red",
        "white", "green", "beige")), "old_colour": v.pick(("blue", "yellow", "black")), "power": v.measure(44, 140, "kW"), "insurer": v.firm(),
    }  # fmt: skip
    return s, """
%!
# [Sale of a used car|Contract of sale (vehicle)|Agreement: used vehicle]
[Seller|Sold by|Vendor|Party 1] :: {seller}
[Buyer|Purchaser|Sold to|Party 2] :: {buyer}
[Make and model|Vehicle|Car] :: {make} {model}
[Number plate|Plate|Registration] :: {plate}
[Chassis no.|VIN|Frame no.] :: {vin}
[Built|Year of make] :: {built}
[First registered|On the road since] :: {reg}
[Mileage|Reading today|Odometer] :: {km}
? seller: Who gives up the car?; Former owner; Vendor; Who sells the car?
? buyer: Purchaser; New owner; Who gets the car?; Who buys the vehicle?
? plate: Registration mark; Which number plate does the car have?; Licence plate
? vin: Vehicle identification number; What is stamped on the chassis?; Frame number
? built: Year of manufacture; When was the car made?; Model year
? reg: First registration; Since when has the car been on the road?
? km: Distance driven; How far had the car run at the sale?; Odometer at sale
~ Seats; How many seats does the car have?
~ Fuel type; Which fuel does the engine burn?
%!
# [Price|Money]
The price is {price}. The car had been [offered|advertised] for {asked}; new it cost {new_price}. {rest} [is|will be] paid at the handover on {handover}.
? price: Purchase price; Agreed price; How much does {buyer} pay?; What was the car sold for?
? asked: Asking price; For how much was the car advertised?; Advertised at
? new_price: Price when new; What did the car cost at first?; Original price
? rest: Paid at handover; How much is due when the car is handed over?
? handover: Handover date; When does the car change hands?; Date of delivery
~ Payment by; How is the rest paid, in cash or by transfer?
%
# [Owners|History]
{owner1} had the car first, then {owner2}. [{owner2.last} sold it at {km_old}.|At {km_old}, {owner2.last} sold it.]
? owner1: First owner; Who owned the car when it was new?
? owner2: Second owner; Who had the car after {owner1}?
? km_old: Mileage at the former sale; How far had the car run when {owner2} sold it?
~ Third owner; Accidents; How many accidents did the car have?
%
# [State|Condition]
The buyer knows of {fault}. {repaired~} was mended by {garage} for {repair_cost}. The car was {old_colour} and is now {colour}.
? fault: Known defect; Which damage does the buyer accept?; Defect accepted
? repaired: Repaired part; What was mended?; Which part did {garage} repair?
? garage: Workshop; Who did the repair?; Which firm mended the car?
? repair_cost: Cost of the repair; What did the repair cost?
? old_colour: Former colour; What colour did the car have before?
? colour: Paint; Which colour has the car now?; Present colour
~ Tyre size; Which tyres are fitted?
%
# [Test|Inspection]
The last inspection was in {last}; the next is due in {next}.
? last: Last inspection; When was the car last inspected?; Previous test
? next: Next inspection; When must the car be inspected again?; Test due
~ Inspected by; Who inspected the car?
%
[Handed over with the car|Comes with|Extras] :: {keys}, {winter}
[Engine|Power] :: {power}
? keys: Number of keys; How many keys are handed over?
? winter: Rims; What rims come with the car?
? power: Engine power; How strong is the engine?
~ Insurance company; Which company insures the car?
%
> {town}, [on |]{signed}
> [Signed|Signatures]: {seller} (seller)      {buyer} (buyer)
? signed: Date of signature; When was the contract signed?; Signed on
? town: Place of signature; Where was the contract signed?; Signed at
~ Witness; Who witnessed the signatures?
"""


SCENES = {"letter invoice": letter_invoice, "amended order": amended_order, "quotation with options": options_quote, "data sheet of two parts": two_parts,
          "manual of two models": two_models, "sale of a car": car_sale}  # fmt: skip
