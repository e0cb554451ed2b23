"""Invoices, purchase orders and quotations."""

# fmt: off
from __future__ import annotations

from reread.training.office.record import Record, Section, Table
from reread.training.office.record import fact as f
from reread.training.office.values import Values

ITEM_COLUMNS = (
    ("Item", "Qty", "Unit price", "Total"), ("Description", "Quantity", "Price each", "Line total"),
    ("Article", "Pcs", "Price", "Sum"), ("Product", "Units", "Rate", "Line amount"), ("Goods", "No.", "Each", "Amount"),
)  # fmt: skip
TERMS = (
    "{d} days net", "net {d} days", "within {d} days of receipt", "{d} days after delivery",
        "2% discount within {s} days",
    "payment in advance", "half on order, half on delivery", "end of the following month", "direct debit",
    "cash on delivery", "by bank transfer within {d} days", "in {s} monthly instalments", "letter of credit",
)  # fmt: skip
DELIVERY = (
    "own van", "road freight", "parcel service", "courier", "collection by the customer", "sea freight", "air freight",
    "express parcel", "rail and truck", "pallet service", "night carrier", "registered post",
)  # fmt: skip
INCOTERMS = "EXW|FCA|CPT|DAP|DDP|FOB|CIF".split("|")


def payment_terms(v: Values) -> str:
    return v.pick(TERMS).format(d=v.pick((7, 10, 14, 20, 21, 28, 30, 45, 60, 90)), s=v.pick((3, 5, 6, 8, 12)))


def items(v: Values, size: int) -> tuple[Table, int]:
    """Lines of goods with quantity, price and sum; and the total in cents."""
    count = v.whole(2, max(2, min(12, size // 60)))
    rows, total = [], 0
    for _ in range(count):
        quantity, price = v.pick((1, 2, 3, 4, 5, 6, 8, 10, 12, 20, 25, 40, 60, 100, 150)), v.whole(80, 24000)
        total += quantity * price
        rows.append((v.thing(), str(quantity), v.amount(price), v.amount(quantity * price)))
    asks = {
        1: "How many pieces of {row} are listed?|What quantity of {row} is there?|"
            "How many {row} units are on the list?",
        2: "What is the unit price of {row}?|How much does one {row} cost?|What is charged for a single {row}?",
        3: "What is the line total for {row}?|What do all pieces of {row} cost together?|"
            "How much is the {row} line in sum?",
    }
    back = {3: "Which item comes to {cell} in total?|Which line amounts to {cell}?",
        2: "Which article costs {cell} each?"}
    title = v.pick(("Items", "Goods", "Positions", "Details", "Articles", "Line items"))
    table = Table(title, v.pick(ITEM_COLUMNS), tuple(rows), asks, "{1} x {0} at {2} each make {3}.",
                  (v.thing(), v.thing()), back=back)  # fmt: skip
    return table, total


def invoice(v: Values, size: int) -> Record:
    seller, buyer = v.firm(), v.firm() if v.chance(0.7) else v.person()
    host = v.host()
    table, net = items(v, size)
    rate = v.pick((5, 7, 8, 10, 12, 19, 20, 21, 22, 25))
    tax, freight = net * rate // 100, v.whole(4, 90) * 100
    number = v.code("INV-19999|RE-Y-999|1999999|F199/Y|Y-1999|INV/Y/1999|SI199999|R-19-9999|AA199999")
    head = (
        f("number", number, "Invoice number|Invoice no.|Invoice #|Invoice ID|Bill number|Number of the invoice",
          "What number does the invoice from {seller} have?|Which reference identifies this bill?|"
              "What is the bill's number?",
          "This is invoice number {v}.|We send you our bill under the number {v}.|Our invoice carries the number {v}.",
              kept=True),
        f("issued", v.date(-5, 5), "Invoice date|Date of invoice|Date of issue|Issued on|Billing date|Issue date",
          "When was the bill issued?|On what day was this invoice written?|What date does the invoice carry?",
          "The invoice was issued on {v}.|We wrote this bill on {v}.|It is dated {v}.", v.date(-40, -20)),
        f("due", v.date(15, 60), "Due date|Payment due|Pay by|Payment deadline|Please pay by|Due on",
          "By when must the invoice be paid?|What is the last day for payment?|When does {buyer} have to pay?"
          "|Until when can the amount be paid, not when was it billed?",
          "Payment is due on {v}.|Please pay no later than {v}.|The amount has to reach us by {v}.", v.date(61, 90)),
        f("supplied", v.date(-19, -6), "Delivery date|Date of supply|Delivered on|Supply date|Date of delivery",
          "When were the goods delivered?|On which day did the delivery take place?|When did {buyer} get the goods?",
          "The goods were delivered on {v}.|You received the goods on {v}.", v.date(-60, -41)),
        f("order", v.code("PO-19999|4500999999|B-1999|O19999|Y/PO/199"),
          "Order number|Purchase order|Your order|PO number|Customer order no.|Your order no.",
          "Which order does the invoice refer to?|Under what order number did {buyer} buy?|"
              "What is the customer's order number?",
          "It refers to your order {v}.|The goods were ordered under {v}.", v.code("PO-19999|B-1999")),
        f("customer_no", v.code("C19999|K-1999|199999|CU-999-99"), "Customer number|Customer no.|Client number|"
            "Account no.",
          "What is {buyer}'s customer number?|Under which number is the customer kept?",
          "Your customer number is {v}.|We keep your account under {v}."),
        f("note_no", v.code("DN-19999|LS19999|D-1999/9"), "Delivery note|Delivery note no.|Packing slip no.",
          "What is the number of the delivery note?|Which delivery note came with the goods?",
          "See delivery note {v}.|Delivery note {v} came with the goods."),
    )  # fmt: skip
    bill, ship = v.address(), v.address()
    parties = (
        f("seller", seller, "Seller|Supplier|From|Invoice from|Billed by|Vendor",
          "Who sent the invoice?|Which company wants to be paid?|Who sold the goods?|Who is the seller, not the buyer?",
          "The seller is {v}.|The goods were sold by {v}.|{v} supplied the goods.", kept=True),
        f("seller_address", v.address(), "Seller's address|Supplier address|Address of seller|Registered office",
          "Where is {seller} based?|What is the address of the seller?|Where does the supplier have its office?",
          "{seller} has its office at {v}.|The supplier is based at {v}."),
        f("buyer", buyer, "Buyer|Customer|Bill to|Invoice to|Billed to|Client",
          "Who has to pay the invoice?|To whom is the bill addressed?|Who bought the goods?|"
              "Which party is the customer?",
          "The buyer is {v}.|The bill is made out to {v}.|{v} bought the goods.", kept=True),
        f("bill_to", bill, "Billing address|Invoice address|Address of customer|Bill-to address",
          "Where is the invoice sent to?|What is the billing address, not the delivery address?|"
              "To which address was the bill posted?",
          "The invoice goes to {v}.|Bills for {buyer} are sent to {v}."),
        f("ship_to", ship, "Delivery address|Ship to|Deliver to|Shipping address|Place of delivery",
          "Where were the goods sent?|To which address was the delivery made, not the bill?|Where did the goods go?",
          "The goods went to {v}.|The delivery was made to {v}.", v.address()),
        f("contact", v.person(), "Contact|Our contact|Your contact|Person in charge|Contact person|Handled by",
          "Who can be asked about the invoice?|Who is in charge at {seller}?|"
              "Whom should {buyer} contact with questions?",
          "If you have questions, ask {v}.|Your contact is {v}.|{v} handles this account.", topic="contact"),
        f("phone", v.phone(), "Phone|Telephone|Tel.|Phone number",
          "On which number can {seller} be called?|What is the seller's telephone number?",
          "You can call us on {v}.|Our telephone number is {v}.", topic="contact"),
        f("mail", v.email("", host), "E-mail|Email|E-mail address", "What is {seller}'s e-mail address?|"
            "Where can one write to by e-mail?",
          "Our e-mail address is {v}.|Write to {v}.", topic="contact"),
        f("vat", v.code("GB199999999|DE199999999|FR19199999999|NL199999999B91|ATU19999999|SE199999999901"),
          "VAT number|VAT no.|VAT ID|VAT registration|Tax number", "What is the seller's VAT number?|"
              "Under which tax number is {seller} registered?",
          "Our VAT number is {v}.|{seller} is registered for VAT under {v}."),
    )  # fmt: skip
    sums = (
        f("net", v.amount(net), "Net amount|Subtotal|Net total|Total net|Sum of items|Amount before tax",
          "How much is it before tax?|What do the goods cost without tax?|What is the net amount, not the gross?",
          "The net amount is {v}.|The goods come to {v} before tax.|Before tax the sum is {v}."),
        f("rate", f"{rate}%" if v.chance(0.7) else f"{rate} %", "VAT rate|Tax rate|Rate of tax",
            "At which rate is tax charged?|How many percent tax is added?",
          "Tax is charged at {v}.|The tax rate is {v}."),
        f("tax", v.amount(tax), "VAT|Tax|VAT amount|Tax amount|Sales tax", "How much tax is charged?|"
            "What is the amount of tax?",
          "The tax on it is {v}.|Tax of {v} is added."),
        f("freight", v.amount(freight), "Freight|Shipping|Carriage|Delivery charge|Shipping costs",
          "How much was charged for shipping?|What did the transport cost?|What is the charge for sending the goods?",
          "We charge {v} for carriage.|Shipping costs {v}."),
        f("gross", v.amount(net + tax + freight), "Total|Amount due|Total due|Grand total|Invoice total|To pay|"
            "Total amount",
          "How much has to be paid in all?|What is the total of the invoice?|What sum does {buyer} owe?|"
              "How much is it with tax and shipping?",
          "The total is {v}.|Please pay {v} in all.|In all, {v} is due.", v.amount(net + tax + freight + 700)),
        f("terms", payment_terms(v), "Payment terms|Terms|Terms of payment|Payment conditions",
          "What are the terms of payment?|How is the invoice to be paid?", "The terms of payment are: {v}.|"
              "Payment terms: {v}.", payment_terms(v)),
        f("bank", f"{v.coined()} {v.pick(('Bank', 'Savings Bank', 'Credit Union', 'Banking Group'))}",
            "Bank|Bank name|Our bank|Paying bank",
          "At which bank does {seller} have its account?|Which bank receives the payment?",
              "Our account is with {v}.|We bank with {v}."),
        f("iban", v.code("DE19 9999 9999 9999 9999 99|GB19 AAAA 9999 9999 9999 99|NL19AAAA9999999999|"
            "FR19 9999 9999 9999 9999 9999 999|SE1999999999999999999999"),
          "IBAN|Account|Account (IBAN)|Bank account", "To which account should the money be sent?|What is the IBAN?|"
              "What is {seller}'s account number?",
          "Please transfer the sum to {v}.|The account for your payment is {v}."),
    )  # fmt: skip
    titles = ("Invoice {number}|INVOICE {number}|{seller}\nInvoice {number}|Invoice no. {number} from {seller}"
              "|{seller} – Invoice|Tax invoice {number}|Bill {number} for {buyer}|"
                  "{seller}: Rechnung / Invoice {number}")
    parts: list[Section | Table] = [
        Section(v.pick(("", "Invoice details", "Details", "Reference")), head),
        Section(v.pick(("Parties", "Seller and buyer", "Addresses", "")), parties), table,
        Section(v.pick(("Totals", "Summary", "Payment", "Amounts", "")), sums),
    ]  # fmt: skip
    return Record("invoice", titles, {}, parts)


def purchase_order(v: Values, size: int) -> Record:
    buyer, seller = v.firm() if v.chance(0.7) else v.body(), v.firm()
    table, net = items(v, size)
    number = v.code("PO-19999|PO Y-999|4500999999|B199-99|ORD-1999|P/1999/Y|Y-PO-1999")
    head = (
        f("number", number, "Order number|PO number|Purchase order no.|Order no.|Order #|Our order",
          "What is the number of the order?|Which order number should {seller} quote?|"
              "Under which reference did {buyer} order?",
          "This is our order {v}.|We order under number {v}.|Please quote order number {v}.", kept=True),
        f("date", v.date(-5, 5), "Order date|Date of order|Ordered on|Date issued|PO date",
          "When was the order placed?|On what date did {buyer} order?", "The order was placed on {v}.|"
              "We ordered on {v}.|This order is dated {v}."),
        f("wanted", v.date(10, 45), "Delivery date|Required by|Deliver by|Requested delivery|Wanted on|Needed by",
          "When must the goods arrive?|By when does {buyer} need the goods?|What delivery date is asked for?",
          "The goods are needed by {v}.|Please deliver by {v}.|Delivery is expected on {v}.", v.date(46, 80)),
        f("quote", v.code("Q-1999|A19999|OF-199/9|Q/Y/999"), "Quotation|Your quotation|Quote ref.|Your offer|Offer no.",
          "Which quotation is the order based on?|To which offer of {seller} does the order refer?",
              "It is based on your quotation {v}.|We refer to your offer {v}."),
        f("project", f"{v.coined()} {v.pick(('site', 'refit', 'extension', 'lab', 'kitchen', 'depot', 'line 2'))}",
            "Project|Job|Cost object|For project",
          "For which project are the goods?|What is the order meant for?", "The goods are for the project {v}.|"
              "The order belongs to {v}."),
        f("centre", v.code("CC-1999|1999-99|K199"), "Cost centre|Cost center|Charge to|Budget code",
          "Which cost centre is charged?|What budget code applies to the order?",
              "The cost centre is {v}.|Costs are booked on {v}.", v.code("CC-1999|K199")),
    )  # fmt: skip
    who = (
        f("buyer", buyer, "Buyer|Ordered by|Purchaser|Customer|Company", "Who placed the order?|"
            "Which organisation buys the goods?|Who is the purchaser?",
          "The order is placed by {v}.|{v} orders the goods.", kept=True),
        f("buyer_person", v.person(), "Buyer's contact|Purchasing agent|Requested by|Responsible buyer|Ordered for",
          "Who handles the order at {buyer}?|Which person is responsible for the purchase?",
              "The responsible buyer is {v}.|{v} handles this order.", topic="contact"),
        f("approved", v.person(), "Approved by|Authorised by|Released by|Signed by",
            "Who approved the order?|Who authorised the purchase?|Whose approval does the order have?",
          "The order was approved by {v}.|{v} authorised the purchase.", v.person()),
        f("seller", seller, "Supplier|Vendor|Order to|Seller|To", "From whom are the goods ordered?|"
            "Which company supplies the goods?|Who is the vendor?",
          "The goods are ordered from {v}.|The supplier is {v}.", kept=True),
        f("vendor_no", v.code("V-19999|L1999|109999|SUP-199"), "Vendor number|Supplier no.|Vendor no.|Creditor no.",
          "What is {seller}'s vendor number?|Which number does the supplier have?",
              "We keep {seller} as vendor {v}.|The vendor number is {v}."),
        f("seller_address", v.address(), "Supplier address|Vendor address|Address of the supplier",
            "Where is the supplier located?|What is {seller}'s address?",
          "{seller} is located at {v}.|The order goes to {v}."),
        f("ship_to", v.address(), "Ship to|Deliver to|Delivery address|Place of delivery|Shipping address",
          "Where should the goods be delivered?|To which address does {seller} send the goods, and not the bill?",
              "Deliver the goods to {v}.|The place of delivery is {v}.", v.address()),
        f("bill_to", v.address(), "Bill to|Invoice address|Billing address|Send invoice to",
            "Where should the invoice be sent?|Which address is for the bill rather than the goods?",
          "Send the invoice to {v}.|Bills go to {v}."),
        f("receiving", v.hours(), "Receiving hours|Unloading times|Goods accepted",
            "During which hours are goods accepted?|When can the lorry be unloaded?",
          "Goods are accepted from {v}.|The gate is open {v}."),
        f("gate", f"{v.pick(('Gate', 'Dock', 'Ramp', 'Door'))} {v.digits(v.pick(('1', 'A', 'A1')))}",
            "Unloading point|Dock|Gate",
          "Where should the driver unload?|At which point are the goods unloaded?",
              "Please unload at {v}.|The unloading point is {v}."),
    )  # fmt: skip
    terms = (
        f("total", v.amount(net), "Order total|Total|Total value|Order value|Net value",
            "What is the order worth in all?|How much will {buyer} spend?|What is the total of the order?",
          "The order comes to {v}.|The total value is {v}."),
        f("terms", payment_terms(v), "Payment terms|Terms of payment|Payment",
            "How will the order be paid?|What payment terms were agreed?", "We pay as agreed: {v}.|"
            "Terms of payment: {v}.", payment_terms(v)),
        f("mode", v.pick(DELIVERY), "Shipping method|Ship via|Mode of delivery|Carrier type",
            "How are the goods to be shipped?|By which means will the goods come?",
            "Please ship by {v}.|The goods come by {v}."),
        f("incoterm", f"{v.pick(INCOTERMS)} {v.town_name()}", "Incoterm|Delivery terms|Terms of delivery|"
            "Shipping terms",
          "Which delivery terms apply?|What Incoterm was chosen?", "The terms of delivery are {v}.|We buy {v}."),
        f("penalty", f"{v.percent(1, 5)} {v.pick(('a week', 'a day', 'per week', 'of the order value'))}",
            "Penalty for delay|Late delivery penalty", "What is the penalty for late delivery?|"
            "What does it cost {seller} to deliver late?",
          "If the goods are late, a penalty of {v} applies.|We deduct {v} for delays."),
        f("warranty", v.span(6, 60, "months"), "Warranty|Warranty period|Guarantee",
            "How long is the warranty?|For how long are the goods guaranteed?",
            "The warranty lasts {v}.|We expect a guarantee of {v}."),
    )  # fmt: skip
    titles = (
        "Purchase order {number}|PURCHASE ORDER {number}|{buyer}\nPurchase Order {number}|"
        "Order {number} to {seller}|{buyer} – Order no. {number}|PO {number} / {seller}"
    )
    return Record("purchase order", titles, {}, [
        Section(v.pick(("", "Order", "Order details", "Reference")), head), Section(v.pick(("Parties",
            "Buyer and supplier", "")), who), table,
        Section(v.pick(("Terms", "Conditions", "Delivery and payment", "")), terms),
    ])  # fmt: skip


def quotation(v: Values, size: int) -> Record:
    seller, customer = v.firm(), v.firm() if v.chance(0.6) else v.body()
    work = v.pick(("repair of the roof", "new kitchen for the canteen", "supply of workshop tools",
        "painting of the stairwell", "rewiring of the store",
                   "furniture for two classrooms", "replacement of the boiler", "fitting of a handrail",
                       "network for the new office", "garden fence",
                   "signs for the car park", "shelves for the archive", "refit of the reception", "hire of a stage",
                       "drainage of the yard"))
    table, net = items(v, size)
    discount = v.whole(2, 15)
    facts = (
        f("number", v.code("Q-19999|Q Y/199|OFF-1999|A-199-99|QUO19999|E-1999|EST-Y-99"),
            "Quotation number|Quote no.|Offer no.|Quotation no.|Estimate no.|Quote #",
          "What is the number of the offer?|Under which number did {seller} quote?|"
              "Which reference does the quotation have?", "Our quotation has the number {v}.|This is offer {v}.",
              kept=True),
        f("date", v.date(-5, 5), "Date|Quotation date|Date of offer|Quoted on",
            "When was the offer written?|On which date did {seller} quote?", "We quote as of {v}.|"
            "The offer was written on {v}."),
        f("valid", v.date(20, 90), "Valid until|Offer valid to|Quote expires|Expiry date|Validity",
            "Until when can the offer be accepted?|When does the quotation expire?|"
            "How long is the price held, to which date?",
          "The offer is valid until {v}.|You can accept until {v}.|Prices are held until {v}.", v.date(91, 130)),
        f("seller", seller, "Offered by|Supplier|Contractor|From|Company", "Who made the offer?|"
            "Which company wants to do the work?|Who quotes?", "{v} is pleased to quote.|The offer comes from {v}.",
            kept=True),
        f("customer", customer, "Customer|Client|Prepared for|To|Offer for", "For whom was the quotation made?|"
            "Who asked for the offer?|Who is the customer?", "The offer was prepared for {v}.|The customer is {v}.",
            kept=True),
        f("attention", v.person(), "Attention|Attn.|For the attention of|Customer contact",
            "To whose attention is the offer sent?|Who at {customer} receives the offer?",
            "For the attention of {v}.|It is addressed to {v} at {customer}.", topic="contact"),
        f("request", v.date(-40, -10), "Date of enquiry|Your enquiry of|Request dated|Inquiry date",
            "When did {customer} ask for the offer?|Of which date is the enquiry?",
            "Thank you for your enquiry of {v}.|We refer to your request of {v}."),
        f("subject", work, "Subject|Scope|Work|Project|Description of work", "What is the offer about?|"
            "Which work is quoted?|What does {customer} want done?", "The offer covers the {v}.|We quote for the {v}.",
            kept=True),
        f("place", v.address(), "Site|Place of work|Site address|Work location",
            "Where will the work be done?|At which address is the site?", "The work is done at {v}.|"
            "The site is at {v}."),
        f("start", v.date(30, 80), "Earliest start|Start of work|Start date|Can start on",
            "When could the work begin?|What is the first possible day for the work?",
            "We can begin on {v}.|Work could start on {v}.", v.date(81, 120)),
        f("lead", v.span(2, 14, "weeks"), "Lead time|Delivery time|Time of delivery",
            "How long does delivery take?|How many weeks must {customer} wait?",
            "Delivery takes {v}.|The lead time is {v}."),
        f("sum", v.amount(net), "Sum of items|Subtotal|List total|Total before discount",
            "What would it cost before the discount?|What is the sum without discount?",
            "Before discount, it comes to {v}.|The items add up to {v}."),
        f("discount", f"{discount}%", "Discount|Rebate|Special discount", "What discount is granted?|"
            "How many percent are taken off?", "We grant a discount of {v}.|A rebate of {v} is given."),
        f("total", v.amount(net * (100 - discount) // 100), "Total|Offer total|Quoted price|Final price|"
            "Price after discount", "How much does {seller} want in the end?|What is the final price?|"
            "What is to be paid after the discount?",
          "The final price is {v}.|We offer all this for {v}.", v.amount(net * (101 - discount) // 100)),
        f("terms", payment_terms(v), "Payment terms|Payment|Terms of payment",
            "On what terms must {customer} pay?|What are the payment terms?", "Payment: {v}.|"
            "We ask for payment as follows: {v}."),
        f("deposit", v.percent(10, 40), "Deposit|Down payment|Advance payment",
            "What share has to be paid in advance?|How large is the deposit?",
            "A deposit of {v} is due on order.|We ask for {v} in advance."),
        f("guarantee", v.span(1, 12, "years"), "Guarantee|Warranty|Guarantee period",
            "How long is the work guaranteed?|For how many years does {seller} give a guarantee?",
            "We guarantee our work for {v}.|The guarantee lasts {v}."),
        f("by", v.person(), "Prepared by|Our contact|Quoted by|Sales contact",
            "Who prepared the offer?|Who at {seller} wrote the quotation?", "The offer was prepared by {v}.|"
            "{v} will be glad to help.", topic="contact"),
        f("phone", v.phone(), "Phone|Tel.|Telephone|Direct line", "What number can {customer} call?|"
            "What is the direct line for questions?", "Call us on {v}.|Our direct line is {v}.", topic="contact"),
        f("title_no", v.code("RFQ-199|RQ1999|T-Y-19"), "Request number|RFQ|Tender no.|Your request no.",
            "Which request does the offer answer?|What is the tender number?",
            "It answers your request {v}.|Tender {v} is the basis."),
    )  # fmt: skip
    cut = v.whole(8, 11)
    titles = (
        "Quotation {number}|QUOTATION {number}|{seller}\nQuotation {number}|Offer {number}: {subject}|"
        "{seller} – Quote for {customer}|Estimate {number}|Our offer for {customer}: {subject}"
    )
    return Record("quotation", titles, {}, [Section(v.pick(("", "Offer", "Details")), facts[:cut]), table, Section(
        v.pick(("Conditions", "Terms", "Price and terms", "")), facts[cut:])])
