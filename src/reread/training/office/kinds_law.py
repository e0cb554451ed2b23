"""Leases, service contracts, policies and letters."""

# fmt: off
from __future__ import annotations

from reread.training.office import words as w
from reread.training.office.record import Record, Section
from reread.training.office.record import fact as f
from reread.training.office.values import Values

ANY_FLOOR = ("ground floor", "first floor", "second floor", "third floor, left", "fourth floor", "fifth floor, right")
FLOORS = {
    "attic flat": ("top floor", "fourth floor, under the roof"), "basement store": ("basement", "lower ground floor"),
    "house with garden": ("two floors", "ground floor only", "three floors"), "garage": ("ground level", "basement"),
    "shop": ("ground floor", "street level"), "workshop": ("ground floor", "yard level"),
}


def lease(v: Values, size: int) -> Record:
    landlord = v.person() if v.chance(0.6) else v.firm()
    person = v.chance(0.8)
    tenant = v.person() if person else v.firm()
    home = v.pick(("two-room flat", "three-room flat", "studio", "shop", "office unit", "workshop",
        "house with garden", "attic flat", "basement store", "garage"))
    rent, extra = v.whole(300, 2900), v.whole(40, 420)
    per = v.pick(("", "", " per month", " a month"))
    who = (
        f("landlord", landlord, "Landlord|Lessor|Owner|Let by", "Who owns the property?|Who lets the {home}?|"
            "To whom is the rent owed?|Who is the lessor, not the lessee?",
          "The landlord is {v}.|The {home} is let by {v}.", kept=True),
        f("landlord_address", v.address(), "Landlord's address|Address of landlord|Lessor's address",
            "Where does the landlord live or have an office?|What is {landlord}'s address?",
            "{landlord} has the address {v}.|Letters to the landlord go to {v}."),
        f("tenant", tenant, "Tenant|Lessee|Renter|Let to", "Who rents the {home}?|Who is the tenant?|"
            "Who has to pay the rent?", "The tenant is {v}.|The {home} is let to {v}.", kept=True),
        f("tenant_born", v.date(-22000, -8000), "Tenant's date of birth|Date of birth|Born on",
            "When was the tenant born?|What is {tenant}'s date of birth?", "The tenant was born on {v}.")
        if person else
        f("tenant_reg", v.code("HRB 19999|19999999"), "Company number|Register no.",
            "What is the tenant's company number?", "The tenant's company number is {v}."),
        f("guarantor", v.person(), "Guarantor|Surety|Guaranteed by", "Who stands surety for {tenant}?|"
            "Who is the guarantor?", "{v} stands surety for the tenant.|The guarantor is {v}."),
        f("agent", v.firm(), "Managing agent|Agent|Property manager|Managed by",
            "Who manages the property?|Which firm acts as agent?", "The property is managed by {v}.|The agent is {v}.",
            v.firm()),
        f("caretaker", v.person(), "Caretaker|Janitor|Caretaker's name", "Who is the caretaker?|"
            "Whom should the tenant tell about repairs in the house?", "The caretaker is {v}.|"
            "Repairs are to be reported to {v}.", topic="contact"),
    )  # fmt: skip
    what = (
        f("premises", v.address(), "Premises|Property|Address of property|Rented property|Property address",
            "Where is the {home}?|What is the address of the rented property?|Which property is let?",
            "The premises are at {v}.|The {home} is at {v}.", kept=True),
        f("type", home, "Type|Type of property|Kind of premises|Use", "What kind of property is rented?|"
            "What sort of premises does {tenant} take?", "Type of property: {v}.|The property is described as: {v}."),
        f("area", v.pick((v.measure(18, 240, "m²"), v.measure(18, 240, "sqm"), v.measure(300, 2400, "sq ft"))),
            "Floor area|Area|Size|Living space", "How large is the {home}?|What is the floor area?|"
            "How much space does it have?", "The floor area is {v}.|It measures {v}."),
        f("floor", v.pick(FLOORS.get(home, ANY_FLOOR)),
            "Floor|Storey|Level",
            "On which floor is it?|What floor is the {home} on?", "It lies on the {v}.|The {home} is on the {v}."),
        f("keys", v.span(2, 9, "keys"), "Keys handed over|Number of keys|Keys",
            "How many keys does the tenant get?|How many keys were handed over?",
            "The tenant receives {v}.|{v} were handed over."),
        f("parking", v.pick((f"space {v.whole(1, 90)}", f"bay {v.digits('A1')}", f"garage {v.whole(1, 40)}")),
            "Parking|Parking space|Car space", "Which parking space belongs to the lease?|Where may the tenant park?",
            "The tenant may use parking {v}.|The lease includes {v} for one car."),
        f("state", v.pick(("newly painted", "unfurnished", "fully furnished", "part furnished", "as seen",
            "renovated last year")), "Condition|Furnishing|State of the rooms",
            "In what condition is the {home} handed over?|Is it furnished, and how?",
            "The rooms are handed over {v}.|The condition is: {v}."),
    )  # fmt: skip
    money = (
        f("start", v.date(5, 60), "Start|Start of lease|Lease begins|Commencement date|Start date",
            "When does the lease begin?|From which day can {tenant} use the {home}?|When may the tenant move in?",
            "The lease begins on {v}.|It runs from {v}.", v.date(61, 90)),
        f("end", v.date(400, 1800), "End|End of lease|Lease ends|Expiry date|End date",
            "When does the lease end?|What is the last day of the tenancy?|Until when is the {home} let?",
            "The lease ends on {v}.|It runs until {v}.", v.date(1801, 2400)),
        f("rent", v.amount(rent * 100, 0) + per, "Rent|Monthly rent|Rent per month|Basic rent|Net rent",
            "How much is the rent?|What does {tenant} pay for the {home} every month, without charges?|"
            "What is the monthly rent, not the deposit?", "The rent is {v}.|{tenant} pays {v} in rent.", v.amount(
            rent * 100 - 4000, 0) + per),
        f("charges", v.amount(extra * 100, 0), "Service charge|Charges|Additional costs|Utilities",
            "How much are the charges on top of the rent?|What is paid for heating and water?",
            "Charges of {v} are added.|For heating and water, {v} is paid in advance."),
        f("deposit", v.amount(rent * v.pick((200, 300)), 0), "Deposit|Security deposit|Bond",
            "How large is the deposit?|What sum must the tenant leave as security?",
            "The tenant pays a deposit of {v}.|The deposit amounts to {v}.", v.amount(rent * 150, 0)),
        f("day", v.pick(("first day of the month", "third working day", "1st of each month", "5th of each month",
            "last Friday of the month", "15th of the month", "first Monday of the month")),
            "Rent due|Payment day|Rent payable on", "When in the month is the rent due?|"
            "On which day does {tenant} pay?", "The rent is due on the {v}.|It must be paid by the {v}."),
        f("notice", v.span(1, 12, "months"), "Notice period|Notice|Period of notice",
            "How much notice must be given?|How long before leaving must one side tell the other?|"
            "What is the period of notice?", "Either side may give {v} notice.|The period of notice is {v}.", v.span(
            13, 24, "months")),
        f("increase", v.percent(1, 6), "Yearly increase|Annual increase|Indexation",
            "By how much may the rent rise each year?|What is the yearly increase of the rent?",
            "The rent rises by {v} a year.|Each year {v} is added to the rent."),
        f("pets", v.pick(("one cat", "no dogs", "small animals only", "with written consent", "one small dog", "none",
            "caged birds only")), "Pets|Animals|Pets allowed", "Which animals may be kept?|"
            "What does the lease allow in terms of pets?", "As to pets: {v}.|Rule on animals: {v}."),
        f("late", v.money(10, 80), "Late fee|Fee for late payment|Reminder fee",
            "What does paying late cost?|Which fee is charged if the rent comes late?",
            "If the rent is late, a fee of {v} is charged.|Late payment costs {v}."),
        f("signed", v.date(-30, 0), "Signed on|Date of signature|Date of agreement|Dated",
            "When was the lease signed?|On what day did both sides sign?", "Both sides signed on {v}.|"
            "This agreement was signed on {v}."),
    )  # fmt: skip
    titles = ("Lease agreement: {premises}|LEASE between {landlord} and {tenant}|"
        "Tenancy agreement, {home}, {premises}|Rental contract {landlord} / {tenant}"
              "|Lease of {premises}|Tenancy of {tenant}")  # fmt: skip
    return Record("lease", titles, {"home": home}, [
        Section(v.pick(("Parties", "The parties", "")), who), Section(v.pick(("Premises", "The property", "Property",
            "")), what),
        Section(v.pick(("Rent and term", "Term and payments", "Conditions", "")), money),
    ])  # fmt: skip


def service_contract(v: Values, size: int) -> Record:
    provider, client = v.firm(), v.body() if v.chance(0.4) else v.firm()
    job = v.pick(("cleaning of the offices", "upkeep of the lifts", "hosting of the website", "bookkeeping",
        "security patrols", "catering in the canteen", "care of the gardens",
                  "repair of the copiers", "removal of snow", "pest control", "translation of manuals",
                      "maintenance of the heating", "training of staff", "waste collection", "payroll"))
    head = (
        f("number", v.code("SC-1999|C-Y-999|V19999|AGR-199/9|SLA-199"), "Contract number|Agreement no.|Contract no.|"
            "Reference", "What number does the contract have?|Under which reference is the agreement filed?",
            "The contract has the number {v}.|This agreement is filed as {v}.", kept=True),
        f("provider", provider, "Provider|Contractor|Service provider|Supplier",
            "Who does the work?|Which company provides the service?|Who is the contractor?",
            "{v} provides the service.|The contractor is {v}.", kept=True),
        f("client", client, "Client|Customer|Principal|Ordering party", "For whom is the work done?|"
            "Who receives the service?|Who is the client?", "The client is {v}.|The service is for {v}.", kept=True),
        f("service", job, "Service|Subject|Services|Object of the contract|Scope",
            "What does the contract cover?|Which service is agreed?|What will {provider} do for {client}?",
            "The contract covers the {v}.|{provider} takes over the {v}.", kept=True),
        f("site", v.address(), "Site|Place of service|Location|Service address",
            "Where is the service performed?|At which address does {provider} work?",
            "The work is done at {v}.|The site is {v}."),
        f("manager", v.person(), "Account manager|Provider's contact|Contact at provider",
            "Who looks after the contract at {provider}?|Who is the account manager?",
            "The account manager is {v}.|At {provider}, {v} is responsible.", v.person(), topic="contact"),
        f("signer", v.person(), "Signed for the client|Client's signatory|Signatory (client)",
            "Who signed for {client}?|Which person signed on behalf of the client?",
            "{v} signed for {client}.|For the client, the contract was signed by {v}."),
        f("signer2", v.person(), "Signed for the provider|Provider's signatory|Signatory (provider)",
            "Who signed for {provider}?|Whose signature does the provider's side bear?",
            "{v} signed for {provider}.|For the provider, {v} signed."),
        f("signed", v.date(-30, 0), "Date of signature|Signed on|Dated", "When was the contract signed?|"
            "On which day did the parties sign?", "It was signed on {v}.|The signatures are dated {v}."),
    )  # fmt: skip
    terms = (
        f("start", v.date(5, 60), "Start date|Start|Effective date|Valid from|Begins on",
            "When does the contract take effect?|From what date does {provider} work?|When does the service begin?",
            "The contract takes effect on {v}.|The service begins on {v}.", v.date(61, 100)),
        f("term", v.span(1, 6, "years"), "Term|Duration|Initial term|Contract period",
            "How long does the contract run?|For how many years was it agreed?",
            "It runs for {v}.|The initial term is {v}.", v.span(7, 12, "years")),
        f("notice", v.span(2, 26, "weeks"), "Notice period|Notice|Period of notice",
            "How much notice is needed to end the contract?|How many weeks ahead must it be cancelled?",
            "It can be ended with {v} notice.|The notice period is {v}."),
        f("renewal", v.pick(("for another year", "month by month", "for two more years", "only by written agreement",
            "for six months at a time")), "Renewal|Extension|Automatic renewal",
            "How is the contract extended?|What happens at the end of the term if nobody cancels?",
            "If nobody cancels, it is extended {v}.|Renewal: {v}."),
        f("fee", v.money(120, 9000) + v.pick((" per month", " a month", " per quarter", " a year", " per visit")),
            "Fee|Price|Charges|Remuneration|Service fee", "How much does {client} pay?|"
            "What is the price of the service?|What does {provider} charge?", "The fee is {v}.|{client} pays {v}.",
            v.money(120, 9000)),
        f("hourly", v.money(25, 180), "Hourly rate|Rate for extra work|Extra hours",
            "What does an hour of extra work cost?|What is the hourly rate for work outside the scope?",
            "Extra work costs {v} an hour.|For work outside the scope, {v} an hour is charged."),
        f("billing", v.pick(("monthly in arrears", "quarterly in advance", "after each visit", "yearly in advance",
            "twice a year", "at the end of each month")), "Billing|Invoicing|Invoices sent",
            "How often is the service invoiced?|When does {provider} send bills?",
            "Invoices are sent {v}.|The fee is billed {v}."),
        f("response", v.span(2, 48, "hours"), "Response time|Reaction time|Time to respond",
            "How quickly must {provider} react?|Within what time does somebody come after a call?",
            "{provider} responds within {v}.|The response time is {v}.", v.span(49, 96, "hours")),
        f("fix", v.span(2, 15, "working days"), "Time to repair|Repair within|Resolution time",
            "How long may it take to mend a fault?|Within what time are faults put right?",
            "Faults are put right within {v}.|The time to repair is {v}."),
        f("hours", f"{v.pick(('Monday to Friday', 'Monday to Saturday', 'every day', 'weekdays'))}, {v.hours()}",
            "Service hours|Hours of service|Hotline hours", "During which hours is the service available?|"
            "When can {client} call the provider?", "The service hours are {v}.|We can be reached {v}."),
        f("visits", f"{v.whole(2, 52)} visits a year", "Visits|Number of visits|Scheduled visits",
            "How many visits are agreed?|How often does {provider} come?", "The plan has {v}.|{provider} makes {v}."),
        f("liability", v.money(10000, 900000, 0), "Liability limit|Limit of liability|Maximum liability",
            "Up to which sum is {provider} liable?|What is the cap on liability?",
            "Liability is limited to {v}.|{provider} is liable up to {v}."),
        f("penalty", v.percent(1, 9), "Penalty|Service credit|Deduction for delay",
            "What share of the fee may be kept back for delays?|How large is the penalty?",
            "For each delay, {v} of the fee is deducted.|The penalty is {v} of the fee."),
        f("court", v.town(), "Place of jurisdiction|Court|Jurisdiction|Venue",
            "Where would a dispute be heard?|The courts of which town are competent?",
            "The courts of {v} have jurisdiction.|Disputes are heard in {v}."),
        f("law",
            "law of " + v.pick(("Ireland", "Austria", "Denmark", "Sweden", "Portugal", "Scotland", "Belgium", "Italy")),
            "Governing law|Applicable law", "Which law applies?|Under which law is the contract made?",
            "The contract is under the {v}.|The {v} applies."),
    )  # fmt: skip
    titles = (
        "Service contract {number}|SERVICE AGREEMENT {number}|Agreement between {provider} and {client}|"
        "Contract {number}: {service}|{provider} – Service agreement with {client}|"
        "Service agreement: {service} ({number})"
    )
    return Record("service contract", titles, {}, [Section(v.pick(("Parties and subject", "Contract", "")), head),
        Section(v.pick(("Terms", "Conditions", "Term and fees", "")), terms)])


def policy(v: Values, size: int) -> Record:
    name, subject = v.pick((
        ("Travel expenses", "travel"), ("Home working", "working from home"), ("Use of company cars", "company cars"),
            ("Leave of absence", "leave"), ("Passwords and access", "access"),
        ("Visitors", "visitors"), ("Gifts and hospitality", "gifts"), ("Retention of records", "records"), (
            "Use of mobile phones", "mobile phones"), ("Complaints", "complaints"),
        ("Purchasing", "purchasing"), ("Lone working", "lone working"), ("Social media", "social media"), (
            "Smoking and vaping", "smoking"), ("Protection of whistle-blowers", "reports of misconduct"),
        ("Training and study leave", "training"), ("Volunteers", "volunteers"), ("Room booking", "room booking"),
    ))  # fmt: skip
    owner = v.firm() if v.chance(0.6) else v.body()
    head = (
        f("title", f"{name} policy" if v.chance(0.5) else f"Policy on {name[0].lower()}{name[1:]}",
            "Policy|Title|Name of policy|Policy title", "What is the policy called?|Which policy is this?",
            "This is the {v}.|The document is the {v}.", kept=True),
        f("organisation", owner, "Organisation|Issued by|Company|Employer", "Which organisation issued the policy?|"
            "Whose rules are these?", "The policy is issued by {v}.|These are rules of {v}.", kept=True),
        f("number", v.code("POL-199|P-19.9|HR-1999|Q19-99|GP-199"), "Policy number|Document no.|Policy no.|"
            "Reference|Policy ID", "What is the number of the policy?|Under which reference is it kept?",
            "Its number is {v}.|It is kept under {v}.", kept=True),
        f("version", f"{v.whole(1, 9)}.{v.whole(0, 9)}", "Version|Edition|Issue",
            "Which version is this?|What edition of the policy is in force?", "This is version {v}.|"
            "Version {v} is in force.", topic="version"),
        f("effective", v.date(-30, 60), "Effective date|Effective from|In force since|Valid from",
            "Since when do these rules apply?|When did the policy come into force?|From which day is it valid?",
            "The policy applies from {v}.|It came into force on {v}.", v.date(-400, -60)),
        f("review", v.date(300, 800), "Review date|Next review|To be reviewed by|Review due",
            "When will the policy be looked at again?|When is the next review?",
            "It will be reviewed on {v}.|The next review is due on {v}.", v.date(801, 900)),
        f("approved", v.person(), "Approved by|Authorised by|Released by", "Who approved the policy?|"
            "Who put it into force?", "It was approved by {v}.|{v} approved these rules.", v.person()),
        f("owner", v.pick(w.ROLES), "Policy owner|Owner|Responsible|Document owner",
            "Who is responsible for the policy?|Which function owns this document?",
            "The {v} is responsible for this policy.|It is owned by the {v}."),
        f("contact", v.email("", v.host()), "Contact|Questions to|E-mail|Help",
            "Where can questions be sent?|To which address should staff write?",
            "Questions go to {v}.|Write to {v} if in doubt.", topic="contact"),
        f("scope", v.pick(("all employees", "all staff and volunteers", "managers and their deputies",
            "drivers of pool cars", "permanent staff only", "staff, contractors and visitors",
            "everyone on the premises", "all teams except the night shift", "office staff", "members of the board")),
            "Scope|Applies to|Who it applies to|Target group", "To whom does the policy apply?|"
            "Who must follow these rules?", "It applies to {v}.|The rules are for {v}."),
        f("replaces", v.code("POL-099|P-9.9|Circular 199|Notice 19/9"), "Replaces|Supersedes|Previous document",
            "Which document does it replace?|What older rule is no longer valid?",
            "It replaces {v}.|{v} is no longer valid."),
    )  # fmt: skip
    rules = (
        f("limit", v.money(20, 900), "Limit|Maximum amount|Spending limit|Ceiling",
            "Up to which amount is no approval needed?|What is the limit under these rules?",
            "Amounts up to {v} need no approval.|The limit is {v}.", v.money(901, 1500)),
        f("days", v.span(2, 30, "working days"), "Time limit for requests|Requests at least|Lead time",
            "How early must a request be made?|How long in advance do staff have to ask?",
            "Requests are made at least {v} ahead.|Please ask at least {v} in advance."),
        f("approver", v.pick(("line manager", "head of department", "managing director", "works council",
            "human resources team", "board", "site manager")), "Approval by|Approver|Decision by|Who decides",
            "Who decides on requests?|Whose approval is needed?", "The {v} decides on requests.|"
            "Approval is given by the {v}."),
        f("form", v.code("Form A-19|Form 199|Form HR9|Form T1-9"), "Form|Form to use|Request form",
            "Which form must be used?|On what form are requests made?", "Please use {v}.|Requests are made on {v}."),
        f("keep", v.span(2, 15, "years"), "Retention period|Records kept for|Storage period",
            "How long are records kept?|After what time are the files deleted?",
            "Records are kept for {v}.|Files are deleted after {v}.", v.span(16, 30, "years")),
        f("reply", v.span(2, 6, "weeks"), "Reply within|Decision within|Time for decision",
            "How soon is a decision made?|Within what time do staff get a reply?",
            "A reply is given within {v}.|You will hear from us within {v}."),
        f("training", v.pick(("once a year", "every two years", "on joining", "every six months", "before first use",
            "every quarter")), "Training|Training interval|Instruction", "How often is training given?|"
            "When must staff be trained?", "Training takes place {v}.|Staff are instructed {v}."),
        f("hotline", v.phone(), "Hotline|Phone|Emergency number", "Which number can staff ring?|"
            "What is the hotline's number?", "The hotline is {v}.|In urgent cases ring {v}.", topic="contact"),
        f("appeal", v.pick(("staff council", "appeals panel", "chair of the board", "ombudsperson", "regional office")),
            "Appeals to|Appeal|Objections to", "Where can one object to a decision?|Who hears appeals?",
            "Appeals go to the {v}.|Objections are heard by the {v}."),
        f("site", v.room(), "Where displayed|Notice board|Copy available at", "Where can a printed copy be read?|"
            "In which place is the policy displayed?", "A printed copy hangs in {v}.|The text can be read in {v}."),
    )  # fmt: skip
    titles = (
        "{title} ({number})|{organisation}\n{title}|{number}: {title}|{title} of {organisation}|"
        "{organisation} – {title}"
    )
    return Record("policy", titles, {"subject": subject}, [Section(v.pick(("Document control",
        "About this policy", "")),
        head), Section(v.pick(("Rules", "What applies", "Details", "")), rules)], plain=v.chance(0.5))


def letter(v: Values, size: int) -> Record:
    sender, receiver = v.person(), v.person()
    body = v.body() if v.chance(0.5) else v.firm()
    date = v.date(-3, 3)
    kind = v.whole(0, 3)
    head = [
        f("sender", sender, "From|Sender|Signed by|Yours sincerely|Writer", "Who wrote the letter?|Who signed it?|"
            "From whom is the letter?", "I, {v}, write to you on behalf of {body}.|"
            "My name is {v} and I write for {body}.", kept=True),
        f("receiver", receiver, "To|Recipient|Addressee|For", "Who is the letter addressed to?|To whom was it sent?|"
            "Who receives the letter?", "This letter is for {v}.|It is addressed to {v}.", kept=True),
        f("body", body, "Organisation|On behalf of|Office|Letterhead", "For which organisation does {sender} write?|"
            "Whose letterhead is used?", "The letter comes from {v}.|It is sent by {v}.", kept=True),
        f("date", date, "Date|Letter date|Date of letter|Written on", "When was the letter written?|"
            "What is the date of the letter?", "It was written on {v}.|This letter is dated {v}."),
        f("receiver_address", v.address(), "Recipient's address|Address of recipient|Delivered to",
            "Where does {receiver} live?|To which address was the letter posted?",
            "It was posted to {v}.|{receiver} lives at {v}."),
        f("sender_address", v.address(), "Sender's address|Address of sender|Our address|Return address",
            "Where is {body} located?|What is the sender's address?", "Our address is {v}.|You find us at {v}."),
        f("our_ref", v.code("AA/199|19-AA-99|Ref 1999/AA|Z 19.9"), "Our reference|Our ref.|Reference",
            "Which reference should be quoted in the reply?|What is the sender's reference?",
            "Our reference is {v}.|Please quote {v} when you reply.", v.code("AA/199|Z 19.9")),
        f("yours", v.date(-40, -8), "Your letter of|Your letter dated|In reply to your letter of",
            "Of which date is the letter that is being answered?|When did {receiver} write?",
            "Thank you for your letter of {v}.|We answer your letter of {v}."),
        f("phone", v.phone(), "Telephone|Phone|Tel.", "By which phone number can {sender} be reached?|"
            "What number can {receiver} call?", "You can reach me on {v}.|My telephone number is {v}.",
                topic="contact"),
        f("position", v.pick(w.ROLES), "Position|Function|Title of sender", "What is {sender}'s position?|"
            "In which function does {sender} write?", "I am the {v} here.|I write as {v}."),
    ]  # fmt: skip
    if kind == 0:
        subject = v.pick(("damage in the cellar", "late delivery", "noise from the works", "wrong meter reading",
            "faulty machine", "loss of a parcel", "cancelled course"))
        more = [
            f("claim", v.code("CL-1999|19/9999|S199"), "Claim number|Case number|File number",
                "What is the number of the case?|Under which number is the claim filed?",
                "The case has the number {v}.|Your claim is filed as {v}."),
            f("happened", v.date(-90, -41), "Date of event|Happened on|Date of damage",
                "When did it happen?|On which day did the {subject} occur?", "It happened on {v}.|"
                "The event took place on {v}.", v.date(-120, -91)),
            f("refund", v.money(20, 1800), "Refund|Compensation|Amount offered",
                "How much is offered to {receiver}?|What sum will be paid back?",
                "We offer you {v}.|We will pay you {v} as compensation.", v.money(10, 19)),
            f("paid", v.date(10, 30), "Payment date|Paid on|Refund paid on", "When will the money be sent?|"
                "On what day is the refund paid?", "The money will be sent on {v}.|You will be paid on {v}."),
            f("expert", v.person(), "Expert|Assessor|Inspected by", "Who looked at the damage?|"
                "Who was sent as an expert?", "Our expert {v} has looked at it.|It was assessed by {v}."),
        ]  # fmt: skip
    elif kind == 1:
        subject = v.pick(("invitation to speak", "visit to our works", "guest lecture", "opening of the new wing",
            "evening with members"))
        more = [
            f("event", v.date(30, 90), "Date of visit|Event date|Day of the event",
                "For which day is {receiver} invited?|When does the event take place?",
                "We would like to see you on {v}.|The day we have in mind is {v}.", v.date(91, 120)),
            f("time", v.time(9, 19), "Time|Start|Begins at", "At what time should {receiver} be there?|"
                "When does it start on that day?", "We begin at {v}.|Please come at {v}."),
            f("place", v.room(), "Venue|Place|Location", "Where does the event take place?|In which place is it held?",
                "We meet in {v}.|The place is {v}."),
            f("fee", v.money(100, 1500), "Fee|Honorarium|Speaker's fee", "What fee is offered?|"
                "How much does {receiver} get for coming?", "We can pay a fee of {v}.|Your fee would be {v}."),
            f("reply", v.date(8, 24), "Reply by|Please answer by|RSVP", "By when should {receiver} answer?|"
                "Until when is a reply expected?", "Please let us know by {v}.|We ask for your answer by {v}."),
            f("guests", v.span(20, 300, "guests"), "Expected|Audience|Guests expected",
                "How many people are expected?|How large will the audience be?",
                "We expect {v}.|About {v} will be there."),
        ]  # fmt: skip
    elif kind == 2:
        subject = v.pick(("change of tariff", "renewal of your membership", "your savings account", "new meter",
            "change of bank", "library card"))
        more = [
            f("account", v.code("19-999-999|M-1999|199 999 99|A19999"), "Account number|Membership no.|Customer no.|"
                "Card number", "What is {receiver}'s account number?|Under which number is {receiver} a member?",
                "Your account number is {v}.|We keep your account as {v}."),
            f("from", v.date(20, 60), "Valid from|Change takes effect|Starts on",
                "From when does the change apply?|On which day does it take effect?",
                "The change applies from {v}.|It takes effect on {v}.", v.date(61, 90)),
            f("new", v.money(4, 190), "New price|New monthly amount|New fee", "What will {receiver} pay in future?|"
                "How much is the new amount?", "You will then pay {v}.|The new amount is {v}.", v.money(191, 260)),
            f("object", v.date(8, 19), "Objections until|Objection deadline|Object by",
                "Until when can {receiver} object?|What is the last day for objections?",
                "You can object until {v}.|Objections must reach us by {v}."),
            f("advisor", v.person(), "Your adviser|Adviser|Personal contact", "Who is {receiver}'s adviser?|"
                "Which colleague advises the recipient?", "Your adviser is {v}.|{v} will advise you.", topic="contact"),
        ]  # fmt: skip
    else:
        subject = v.pick(("your application", "confirmation of employment", "your internship", "end of probation",
            "change of working hours"))
        more = [
            f("job", v.pick(w.ROLES), "Post|Job|Position offered|Job title", "Which post is {receiver} offered?|"
                "As what will {receiver} work?", "You will work as {v}.|The post is that of {v}."),
            f("begin", v.date(20, 90), "First day|Start of work|Begin of employment",
                "When does {receiver} start work?|What is the first day of work?",
                "Your first day is {v}.|You start on {v}.", v.date(91, 130)),
            f("salary", v.money(1500, 7000, 0), "Salary|Pay|Monthly pay", "How much will {receiver} earn?|"
                "What is the salary?", "Your salary is {v} a month.|You will be paid {v} a month."),
            f("week", v.span(15, 40, "hours"), "Weekly hours|Hours a week|Working time",
                "How many hours a week does {receiver} work?|What is the weekly working time?",
                "You work {v} a week.|The weekly time is {v}."),
            f("holiday", v.span(18, 36, "days"), "Annual leave|Holiday|Leave per year",
                "How much holiday is there?|How many days off are granted a year?",
                "You have {v} of leave.|Leave is {v} a year."),
            f("boss", v.person(), "Supervisor|Line manager|Reports to", "Who will be {receiver}'s supervisor?|"
                "To whom does {receiver} report?", "Your supervisor is {v}.|You will report to {v}."),
        ]  # fmt: skip
    head.append(f("subject", subject, "Subject|Re|Concerning|Matter", "What is the letter about?|"
        "Which matter does {sender} write about?", "It is about this matter: {v}.|The matter is: {v}.", kept=True))
    titles = (
        "{body}\n{date_line}|{body} – {subject}|Letter to {receiver}|{sender}, {body}|{subject_} ({receiver})|"
        "{receiver}\n{subject_}"
    )
    names = {"date_line": f"Letter to {receiver}", "subject_": subject[:1].upper() + subject[1:]}
    cut = v.whole(5, 8)
    return Record("letter", titles, names, [Section("", tuple(head[:cut])), Section("", tuple(more)), Section("",
        tuple(head[cut:]))], mail=False, plain=True)
