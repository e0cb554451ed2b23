"""Scenes of law: a lease with an amendment, a service contract, a will with a codicil, a court docket."""

# ruff: noqa: E501
# fmt: off
from __future__ import annotations

from reread.training.office.scenes import Slots, cells
from reread.training.office.values import Values


def amended_lease(v: Values) -> tuple[Slots, str]:
    s = {
        "owner": v.person() if v.chance(0.5) else v.firm(), "tenant": v.person(), "old_tenant": v.person(False), "flat": v.address(), "agent": v.firm(),
        "signed": v.date(-900, -700), "begin": v.date(-690, -640), "amended": v.date(-30, -1), "from": v.date(5, 40), "end_old": v.date(300, 500), "end": v.date(700, 1400),
        "rent_old": v.money(500, 1200), "rent": v.money(1201, 1900), "cost_old": v.money(60, 150), "cost": v.money(151, 290), "deposit": v.money(2000, 4900),
        "n_owner": v.span(4, 6, "months"), "n_tenant": v.span(2, 3, "months"), "day_old": v.pick(("3rd", "5th")), "day": v.pick(("1st", "10th", "15th")),
        "late": v.money(10, 50), "room_old": v.pick(("cellar room", "garage", "attic room")), "room": v.pick(("parking space", "bicycle shed", "garden plot")), "witness": v.person(False),
    }
    return s, """
%!
# [Amendment to the lease|Lease, first amendment|Change of tenancy agreement]
[Landlord|Lessor|Owner|Let by] :: {owner}
[Tenant|Lessee|Renter|Let to] :: {tenant}
[Premises|Property|Flat] :: {flat}
[Lease signed|Original lease of] :: {signed}
[This amendment|Amended|Date of amendment] :: {amended}
[Takes effect|In force from|Valid from] :: {from}
? owner: Person or firm letting the flat; Who lets the flat?; Party that receives the rent; Who is the owner of the premises?
? tenant: Present tenant; Who lives in the flat now?; Party that pays the rent; Who has to pay the rent?
? flat: Address of the flat; What is let?; Rented property
? signed: Date of the original lease; When was the first lease signed?; On what day was the lease itself concluded?
? amended: Date of the change; When was the amendment made?; On which day was the lease changed?
? from: Amendment effective from; From when does the amendment apply?; Start of the new terms
~ Floor area; How large is the flat?
~ Pets; Are pets allowed in the flat?
%!
# [Rent|What changes|Money]
The monthly rent of {rent_old} [rises to|is replaced by|becomes] {rent}. Instead of {cost_old} for heating and water, {cost} a month is due. It is payable on the {day} of each month, no longer on the {day_old}.
? rent_old: Rent before the change; Former monthly rent; What was the rent before the amendment?; How much rent used to be paid?
? rent: Rent after the change; Current monthly rent; What is the rent under the amendment?; How much is the new rent?
? cost_old: Former charge for heating and water; How much was paid for heating and water before?; Old service charge
? cost: Heating and water, new charge; How much is due for heating and water now?; Service charge as amended
? day: Rent is now due on the; On which day of the month must the rent be paid now?; New day of payment
? day_old: Former day of payment; On which day of the month was rent due before?
~ Bank account of the landlord; To which account is the rent paid?
%
# [Term|Duration]
The lease began on {begin}. It was to end on {end_old}; the parties [extend it to|now agree on] {end}. The tenant may give notice of {n_tenant}, the landlord of {n_owner}.
? begin: Start of tenancy; When did the lease begin?; Tenancy since
? end_old: End of the lease as first agreed; When was the lease to end at first?; Original end date
? end: End of the lease as extended; When does the lease end now?; New end date
? n_tenant: Notice period for the tenant; How much notice must the tenant give?; Tenant's notice
? n_owner: Notice period for the landlord; How much notice must the landlord give?; Landlord's notice
~ Rent increase clause; How often may the rent be raised?
%
# [Rooms|Use]
The {room_old} is given back; the {room} is now let with the flat. {old_tenant}, who lived there before, has no more claims.
? room_old: Given back; What does the tenant give up?; No longer let
? room: Newly let; What is let in addition from now on?; Added to the lease
? old_tenant: Previous tenant; Who lived in the flat before {tenant}?
~ Number of keys; How many keys does the tenant hold?
%
# [Other terms|Sundries]
The deposit stays at {deposit}. Each late payment costs {late}. [Agent|Managing agent]: {agent}. [Witness|Witnessed by]: {witness}.
? deposit: Security deposit; How high is the deposit?; Sum held as security
? late: Charge for late payment; What does a late payment cost?; Late fee
? agent: Property manager; Which firm manages the property?; Managed by
? witness: Witness to the amendment; Who witnessed it?
~ Guarantor; Who stands surety for the tenant?
"""


def service_contract(v: Values) -> tuple[Slots, str]:
    s = {
        "a": v.firm(), "b": v.firm(), "pa": v.person(), "pb": v.person(), "aa": v.address(), "ba": v.address(), "ea": v.email("", v.host()), "eb": v.email("", v.host()),
        "no": v.code("SC-1999|V 19/999|C.1999-9"), "signed": v.date(-8, 0), "start": v.date(5, 20), "review": v.date(150, 190), "end": v.date(360, 720),
        "what": v.pick(("lift maintenance", "window cleaning", "payroll accounting", "pest control", "night security", "translation work", "boiler service", "snow clearing")),
        "fee": v.money(300, 1900), "extra": v.money(40, 90), "cap": v.money(20000, 49000, 0), "cap2": v.money(50000, 99000, 0), "na": v.span(2, 4, "weeks"), "nb": v.span(5, 9, "weeks"),
        "pay": v.span(10, 20, "days"), "urgent": v.span(2, 6, "hours"), "normal": v.span(2, 6, "working days"), "state": v.town(), "court": v.town(), "keep": v.span(3, 9, "years"),
    }
    return s, """
%!
# [Service agreement|Contract for services|Agreement] {no}
[Between|This agreement is between] {a}, {aa} ([the Client|"Client"|hereafter the Client]), represented by {pa}, and {b}, {ba} ([the Provider|"Provider"|hereafter the Provider]), represented by {pb}.
? a: Client; Name of the client; Who receives the service?; Which company orders the {what}?
? b: Provider; Contractor; Who does the {what}?; Which company is engaged?
? aa: Client's address; Where is the client located?; Address of {a}
? ba: Provider's address; Where is the provider located?; Address of {b}
? pa: Client represented by; Who acts for {a}?; Representative of the client
? pb: Provider represented by; Who acts for {b}?; Representative of the provider
? no: Contract number; Agreement no.; How is the contract numbered?
~ VAT number of the provider; What is the provider's VAT number?
~ Former provider; Who did the {what} before?
%!
# [Service and fee|Scope and price|Subject]
{b} provides {what} for {fee} a month. Work outside the plan costs {extra} an hour. Bills are paid within {pay}. Urgent calls are answered within {urgent}, others within {normal}.
? what: Service; What is to be done?; Kind of work
? fee: Monthly fee; How much does {a} pay each month?; Regular price
? extra: Hourly rate for extra work; What does an hour outside the plan cost?; Rate for unplanned work
? pay: Time for payment; Within what time must bills be paid?; Payment term
? urgent: Response time for urgent calls; How quickly are urgent calls answered?; Urgent response
? normal: Response time for other calls; How quickly are calls answered that are not urgent?; Usual response
~ Travel costs; Who pays for travel?
%
# [Term|Dates]
[Signed|Date of signature] :: {signed}
[Work begins|Starts|Begins] :: {start}
[Review|Terms are reviewed] :: {review}
[Runs until|Expires|Ends] :: {end}
? signed: Contract signed on; When was the contract signed?; Day of conclusion
? start: Start of services; When does the work begin?; Commencement
? review: Date of review; When are the terms looked at again?; Review of terms
? end: End of contract; When does the contract expire?; Last day of the term
~ Trial period; How long is the trial period?
%
# [Notice|Termination]
The Client may [end|terminate] the contract with {na} notice, the Provider with {nb}. Notices to the Client go to {ea}, those to the Provider to {eb}.
? na: Client's notice period; With how much notice can {a} leave?; Notice by the client
? nb: Provider's notice period; With how much notice can {b} leave?; Notice by the provider
? ea: E-mail for notices to the client; Where are notices to {a} sent?; Client's e-mail
? eb: E-mail for notices to the provider; Where are notices to {b} sent?; Provider's e-mail
~ Fee for early termination; What does it cost to leave early?
%
# [Liability|Limits]
The Provider is liable up to {cap} per event and {cap2} a year. Records are kept for {keep}. The law of {state} applies; disputes go to the court of {court}.
? cap: Limit of liability per event; For how much is the provider liable in one case?; Cap per event
? cap2: Limit of liability per year; What is the yearly limit of liability?; Annual cap
? keep: Records kept for; How long are records kept?; Retention period
? state: Governing law; Whose law applies?; Applicable law of
? court: Court for disputes; Where are disputes heard?; Place of jurisdiction
~ Insurance company; Which company insures the provider?
"""


def will(v: Values) -> tuple[Slots, str]:
    kin = v.some(("cousin", "neighbour", "godchild", "friend", "lodger", "colleague"), 3)
    s = {
        "who": v.person(False), "home": v.address(), "made": v.date(-2000, -1000), "cod": v.date(-300, -10), "exec_old": v.person(), "exec": v.person(), "sub": v.person(),
        "k1": kin[0], "k2": kin[1], "k3": kin[2], "n1": v.person(False), "n2": v.person(False), "n3": v.person(False), "sum_old": v.money(1000, 4900, 0), "sum": v.money(5000, 9900, 0),
        "sum2": v.money(11000, 19000, 0), "body_old": v.body(), "body": v.body(), "w1": v.person(False), "w2": v.person(False), "w3": v.person(False), "w4": v.person(False),
        "t1": v.pick(("the loom", "my boat", "the oak desk", "my stamp albums")), "t2": v.pick(("the silver clock", "my violin", "the garden bench", "my camera")), "notary": v.person(), "no": v.code("199/Y|W-1999|N 19.999"),
    }
    return s, """
%!
# [Will|Last will and testament|Testament]
I, {who}, of {home}, make this will on {made}. [Executor|As executor I name|My executor is] {exec_old}.
? who: Testator; Whose will is this?; Person making the will
? home: Residence of the testator; Where does {who} live?
? made: Date of the will; When was the will itself made?; Will made on
? exec_old: Executor first named; Whom did the will name as executor before the codicil?; Executor under the original will
~ Date of birth of the testator; When was {who} born?
~ Spouse; To whom is {who} married?
%!
# [Gifts|Bequests]
My {k1} {n1} shall have {t1} and {sum_old}. My {k2} {n2} shall have {t2} and {sum2}. [The rest goes|Everything else goes|What remains goes] to {body_old}.
? n1: The {k1}; Who gets {t1}?; Name of the {k1}
? n2: The {k2}; Who gets {t2}?; Name of the {k2}
? t1: Object left to {n1}; Which object does the {k1} inherit?
? t2: Object left to {n2}; Which object does the {k2} inherit?
? sum_old: Sum for {n1} in the will as first made; How much did the will first leave to the {k1}?
? sum2: Sum left to {n2}; How much money goes to the {k2}?
? body_old: Recipient of the rest under the first will; To whom did the rest go before the codicil?
%!
# [Codicil|Codicil to my will|Supplement]
On {cod} I change my will [as follows|in these points]: the executor shall be {exec}, or, if that person cannot act, {sub}. The sum for {n1} is {sum}. The rest shall go to {body}. All else stands.
? cod: Date of the codicil; When was the will changed?; Will amended on
? exec: Executor as changed; Who is to carry out the will after the change?; Executor now in office
? sub: Substitute executor; Who acts if the executor cannot?; Replacement for the executor
? sum: Sum for {n1} as changed; How much does {n1} receive under the codicil?; Gift of money to {n1} now in force
? body: Recipient of the rest as changed; Who receives the rest after the change?; Residue now goes to
~ Reason for the change; Why was the will changed?
%
[Witnesses of the will|Will witnessed by]: {w1} and {w2}. [Witnesses of the codicil|Codicil witnessed by]: {w3} and {w4}.
? w1: First witness of the will; Who is named first as a witness of the will?
? w4: Second witness of the codicil; Who is the second witness of the codicil?
? w3: First witness of the codicil; Who is named first as a witness of the codicil?
? w2: Second witness of the will; Who is the second witness of the will?
%
[Kept by|Deposited with|Held by] :: {notary}
[Register|Entry|File] :: {no}
? notary: Keeper of the will; Who keeps the will?; Where is the will deposited?
? no: Register number; Under which number is the will kept?; Deposit number
~ Fee for keeping; What does the keeping of the will cost?
"""


def docket(v: Values) -> tuple[Slots, str]:
    s = {
        "no": v.code("19 A 999/Y|A-199-Y|Y/A/1999"), "low_no": v.code("9 B 199/99|B-999-1"), "court": v.town(), "low": v.town(), "pl": v.person(), "df": v.firm(), "lp": v.person(), "ld": v.person(),
        "judge_old": v.person(), "judge": v.person(), "filed": v.date(-300, -200), "served": v.date(-190, -150), "heard_old": v.date(5, 20), "heard": v.date(30, 60), "claim": v.money(20000, 60000), "offer": v.money(3000, 9000),
        "costs": v.money(300, 900), "room_old": v.code("room 19|hall A"), "room": v.code("room 2-99|hall B9"), "expert": v.person(),
    }
    rows = [(v.date(-140 + 30 * i, -120 + 30 * i), what, v.person(False)) for i, what in enumerate(v.some(("Reply to the claim", "Motion to dismiss", "List of witnesses", "Request for documents", "Change of counsel", "Expert report", "Order on costs"), v.whole(3, 4)))]
    order = [(what, day, by) for day, what, by in rows]
    table = cells(s, order, ("[Entry|Paper|Filing]", "[Received|Date|Day]", "[Signed by|By|Submitted by]"), {
        1: "@, date; Date of the entry @; When was the entry \"@\" made?; On which day did the court receive: @?", 2: "@: signed by; Person behind the entry @; Who signed the entry \"@\"?", 0: "Entry of @1; What was entered on @1?; What did @2 submit?"})
    return s, """
%!
> [DOCKET|Case record|Register of proceedings]
[Case|Case no.|File] :: {no}
[Court|Before] :: [District Court|Court] of {court}
[Plaintiff|Claimant] :: {pl}[, counsel {lp}| (for whom: {lp})]
[Defendant|Respondent] :: {df}[, counsel {ld}| (for whom: {ld})]
? no: Docket number; Which number does the case have here?; File reference
? court: Seat of this court; Where is the case heard?
? pl: Party suing; Who brought the claim?; Who sues?
? df: Party sued; Against whom is the claim?; Who is sued?
? lp: Lawyer of the claimant; Who speaks for {pl}?; Counsel of the party suing
? ld: Lawyer of the respondent; Who speaks for {df}?; Counsel of the party sued
~ Interpreter; Who interprets at the hearing?
~ Number of jurors; How many jurors are there?
%!
{table}
~ Appeal; When was the appeal filed?
%
# [Course|Proceedings]
The claim was filed on {filed} and served on {served}. The claimant asks for {claim}; {df} offered {offer}. Court costs so far are {costs}.
? filed: Claim filed; When did the case reach the court?; Date of filing of the claim
? served: Claim served; When was the claim delivered to the other side?; Date of service
? claim: Sum claimed; How much does {pl} demand?; Amount in dispute
? offer: Sum offered; How much did the other side offer?; Settlement offer
? costs: Costs of the court; How much are the court costs?; Court fees to date
~ Interest claimed; What interest is claimed?
%
# [Hearing|Sitting]
The hearing set for {heard_old} in {room_old} is [moved|put off] to {heard}, {room}. {judge} sits in place of {judge_old}. {expert} is heard as an expert.
? heard_old: Hearing as first set; When was the hearing to be held at first?; Former hearing date
? heard: Hearing as moved; When is the hearing now?; New hearing date
? room_old: Former room; In which room was the hearing first planned?
? room: New room; Where in the building is the hearing now?
? judge: Judge who sits; Who hears the case now?; Judge now in charge
? judge_old: Judge replaced; Who was to hear the case before?; Former judge
? expert: Expert; Who is heard as an expert?; Expert witness
~ Length of the hearing; How long will the hearing take?
%
Before this, the court of {low} had the case under number {low_no}.
? low: Earlier court; Where was the case before?; Court that had the case first
? low_no: Former case number; What was the number at the earlier court?
""".replace("{table}", table)


SCENES = {"lease with amendment": amended_lease, "service agreement": service_contract, "will with codicil": will, "docket": docket}
