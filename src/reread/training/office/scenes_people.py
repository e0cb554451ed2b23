"""Scenes of people: a letter that moves an appointment, a CV, minutes, a ticket."""

# ruff: noqa: E501
# fmt: off
from __future__ import annotations

from reread.training.office import words as w
from reread.training.office.scenes import Slots, cells
from reread.training.office.values import Values


def moved_letter(v: Values) -> tuple[Slots, str]:
    s = {
        "from": v.person(), "to": v.person(), "firm": v.firm(), "addr": v.address(), "date": v.date(-2, 0), "letter": v.date(-20, -8), "old": v.date(10, 20), "new": v.date(21, 40), "reply": v.date(3, 8),
        "t_old": v.time(8, 11), "t_new": v.time(13, 18), "r_old": v.room(), "r_new": v.room(), "what": v.pick(("inspection of the roof", "talk about the budget", "survey of the yard", "handover of the keys", "tasting of the menu")),
        "guest": v.person(False), "stand": v.person(False), "tel": v.phone(), "mob": v.phone(), "ref": v.code("Br/199|L-19-99|99/Y"), "yref": v.code("K 1999|Q.19.9|AA-99"),
    }
    return s, """
%!
> {firm}, {addr}
> {date}
[Our reference|Our ref.|Our sign] :: {ref}
[Your reference|Your ref.|Your sign] :: {yref}
Dear {to}, thank you for your letter of {letter}.
? firm: Sending organisation; Which company sends the letter?; Letterhead
? addr: Sender's address; Where is {firm} located?; Return address
? date: Date of this letter; When was this letter written?; Letter dated
? letter: Date of the letter that is answered; When did {to} write?; Your letter of
? ref: Sender's reference; Under which reference does {firm} keep the matter?; Reference of the writer
? yref: Addressee's reference; Which reference does {to} use?; Reference of the receiver
? to: Addressee; To whom is the letter written?; Recipient of the letter
~ Customer number; What is the customer number?
%!
The {what} [planned for|fixed for|announced for] {old}, {t_old}, [cannot take place then|has to be moved]. We now [propose|offer you] {new} at {t_new}. We [meet|shall meet] in {r_new} instead of {r_old}. Please answer by {reply}.
? what: Subject; What is the appointment about?; Matter of the letter
? old: Date that is cancelled; On which day was the meeting first planned?; Original date of the appointment
? new: Newly proposed date; On which day shall the meeting be now?; Appointment moved to
? t_old: Time first planned; At what time was the meeting to begin at first?; Original time
? t_new: Newly proposed time; At what time does the meeting begin now?; New time
? r_old: Place first planned; Where was the meeting to be at first?; Original meeting place
? r_new: New meeting place; Where do they meet now?; Place of the appointment as moved
? reply: Answer expected by; By when should {to} answer?; Deadline for the reply
~ Reason for the delay; Why is the appointment moved?
~ Length of the meeting; How long will the meeting last?
%
{guest} will come along; if {guest.last} is ill, {stand} will. You reach us at {tel} during the day and at {mob} in the evening.
? guest: Companion; Who will come along?; Also present
? stand: Substitute; Who comes if {guest} is ill?; Replacement for {guest}
? tel: Daytime phone; Which number can be called during the day?; Phone, day
? mob: Evening phone; Which number can be called in the evening?; Phone, evening
~ Fax; What is the fax number?
%!
> [Yours sincerely|Kind regards|With best wishes]
> {from}
? from: Writer; Who signed the letter?; Sender of the letter; Letter written by
~ Position of the writer; What is {from}'s position?
"""


def career(v: Values) -> tuple[Slots, str]:
    year = v.today.year
    ends = [year - v.whole(2, 4), year - v.whole(6, 9), year - v.whole(11, 14)]
    roles = v.some(w.ROLES, 4)
    s = {
        "name": v.person(False), "birth": v.town(), "home": v.address(), "mail": v.email("", v.host()), "tel": v.phone(), "f1": v.firm(), "f2": v.firm(), "f3": v.firm(), "r1": roles[0], "r2": roles[1], "r3": roles[2], "r4": roles[3],
        "y1": str(ends[0]), "y2": str(ends[1]), "y3": str(ends[2]), "u1": v.institute(), "u2": v.institute(), "d1": v.pick(("BSc", "BA", "Diploma")) + " in " + v.pick(("physics", "law", "geology")),
        "d2": v.pick(("MSc", "MA")) + " in " + v.pick(("economics", "design", "statistics")), "g1": str(year - 20), "g2": str(year - 18), "l1": v.pick(w.LANGUAGES), "ref1": v.person(), "ref2": v.person(), "pay": v.money(41000, 59000, 0), "wish": v.money(60000, 79000, 0), "free": v.month(30, 200),
    }
    s["l2"] = v.pick([one for one in w.LANGUAGES if one != s["l1"]])
    return s, """
%!
# [Curriculum vitae|CV|Résumé]
[Name|Applicant] :: {name}
[Lives at|Address] :: {home}
[Born in|Place of birth] :: {birth}
[E-mail|Mail] :: {mail}
[Phone|Tel.] :: {tel}
? name: Candidate; Whose CV is this?; Person
? home: Residence; Where does {name} live?; Home address
? birth: Birthplace; Where was {name} born?
? mail: E-mail address; How can {name} be reached by mail?
? tel: Telephone; On which number can {name} be called?
~ Nationality; What is {name}'s nationality?
~ Date of birth; When was {name} born?
%!
# [Work|Experience|Employment]
[Since {y1}|{y1} to now|From {y1}]: {r1}, {f1}. [{y2} to {y1}|{y2}-{y1}]: {r2}, {f2}. [{y3} to {y2}|{y3}-{y2}]: {r3}, {f3}.
? f1: Present employer; Where does {name} work now?; Current company
? r1: Present position; What is {name}'s job now?; Current role
? f2: Employer before the present one; Where did {name} work just before the present job?; Previous company
? r2: Role at {f2}; What did {name} do at {f2}?; Position held at {f2}
? f3: First employer listed; Which company did {name} work for earliest?; Earliest company
? r3: Role at {f3}; What was {name}'s job at {f3}?; Position held at {f3}
? y1: In the present job since; Since which year has {name} been with {f1}?; Start at {f1}
? y2: Start at {f2}; In which year did {name} begin at {f2}?
? y3: Start at {f3}; In which year did {name} begin at {f3}?
~ Number of staff led; How many people does {name} lead?
%
# [Education|Studies]
{d2}, {u2}, {g2}. {d1}, {u1}, {g1}.
? d2: Higher degree; What is the later degree?; Degree of {g2}
? d1: First degree; What is the earlier degree?; Degree of {g1}
? u2: University of the later degree; Where did {name} study last?; Degree of {g2} from
? u1: University of the first degree; Where did {name} take the first degree?; Degree of {g1} from
~ Thesis; What was the thesis about?
~ School; Which school did {name} attend?
%
# [Other|Further details]
Languages: {l1} (fluent), {l2} (basic). [Salary now|Earns]: {pay}; [salary wished|hopes for|expected]: {wish}. Free from {free}.
? l1: Fluent language; Which language does {name} speak well?; Speaks fluently
? l2: Language with basic knowledge; Which language does {name} know a little?; Basic knowledge of
? pay: Present salary; How much does {name} earn now?; Current pay
? wish: Desired salary; How much would {name} like to earn?; Expected pay
? free: Available from; When could {name} begin?; Earliest start
~ Driving licence; Which driving licence does {name} hold?
%
[Referees|References]: {ref1} ({f1}) and {ref2} ({f2}).
? ref1: Referee at {f1}; Who can be asked at {f1}?; Reference from {f1}
? ref2: Referee at {f2}; Who can be asked at {f2}?; Reference from {f2}
"""


def minutes(v: Values) -> tuple[Slots, str]:
    yes, no = v.whole(9, 14), v.whole(2, 7)
    s = {
        "body": v.body(), "date": v.date(-3, 0), "last": v.date(-60, -30), "next": v.date(20, 50), "room": v.room(), "room2": v.room(), "chair": v.person(), "chair2": v.person(), "clerk": v.person(), "late": v.person(), "sick": v.person(),
        "start": v.time(8, 11), "end": v.time(12, 17), "t_late": v.pick(("after item 2", "during item 1", "before the vote")), "yes": f"{yes} votes", "no": f"{no} votes", "abst": v.pick(("1 abstention", "no abstentions", "8 abstentions")),
        "plan": v.money(20000, 39000, 0), "ok": v.money(9000, 19000, 0), "spent": v.money(2000, 8900, 0), "mover": v.person(), "second": v.person(),
        "issue": v.pick(("a new boiler", "the repair of the roof", "two benches", "a bus for outings", "new lamps in the hall")),
    }
    rows = [(task, v.person(False), v.date(5 + 9 * i, 12 + 9 * i)) for i, task in enumerate(v.some(("Ask for two offers", "Write to the neighbours", "Check the insurance", "Book the hall", "Update the list of members", "Order the paint", "Report the damage"), v.whole(3, 4)))]
    table = cells(s, rows, ("[Task|Action|To do]", "[Who|Owner|Responsible]", "[By|Due|Until]"), {
        1: "@: person responsible; Owner of the task \"@\"; Who has to do this: @?", 2: "@: due date; Deadline of the task \"@\"; By when is this to be done: @?", 0: "Task of @1; What is @1 to do?; What is due on @2?"})
    return s, """
%!
# [Minutes|Record of the meeting|Notes of the meeting]
[Body|Board of|Meeting of] :: {body}
[Held on|Date|Day] :: {date}[, {room}| in {room}]
[Chair|In the chair] :: {chair}[ (in place of {chair2})|, for {chair2}]
[Minutes by|Notes by|Clerk] :: {clerk}
[Began|Opened] :: {start}
[Closed|Ended] :: {end}
? body: Organisation; Which body met?; Whose meeting was it?
? date: Date of this meeting; When was this meeting held?; Day of the session
? room: Place of this meeting; Where was this meeting held?; Venue of the session
? chair: Chaired by; Who led this meeting?; Person who led the session
? chair2: Usual chair; Whom did {chair} replace?; Chair who was replaced
? clerk: Minute taker; Who wrote the minutes?; Secretary of the meeting
? start: Opening time; At what time did the meeting begin?; Start of the session
? end: Closing time; At what time was the meeting over?; End of the session
~ Number of guests; How many guests came?
%
{late} came late ({t_late}). {sick} had sent apologies. The minutes of {last} were approved.
? late: Late arrival; Who came late?; Arrived after the beginning
? sick: Absent with apologies; Who could not come?; Excused
? last: Date of the earlier meeting; Of which day were the approved minutes?; Previous meeting
~ Absent without notice; Who was absent without notice?
%!
# [Decision|Vote|Motion]
{mover} moved to pay for {issue}; {second} seconded. [Asked for|Requested] was {plan}, [granted|agreed] was {ok}; {spent} has been spent so far. In favour: {yes}; against: {no}; {abst}.
? issue: Subject of the motion; What is the money for?; Purpose of the money
? mover: Proposer; Who made the motion?; Moved by
? second: Seconder; Who supported the motion of {mover}?; Seconded by
? plan: Sum requested; How much money was asked for?; Amount applied for
? ok: Sum granted; How much money was approved?; Amount approved
? spent: Sum spent so far; How much has been used already?; Expenses to date
? yes: Votes for the motion; How many were in favour?; Ayes
? no: Votes against the motion; How many were against?; Noes
~ Interest rate; At which interest is the money borrowed?
%
{table}
~ Task of the caretaker; What is the caretaker to do?
%
# [Next meeting|Further dates]
The next meeting is on {next} in {room2}.
? next: Date of the next meeting; When will they meet again?; Following session
? room2: Place of the next meeting; Where will they meet next time?
~ Agenda of the next meeting; What is the first item next time?
""".replace("{table}", table)


def ticket(v: Values) -> tuple[Slots, str]:
    day = v.date(-2, 0)
    s = {
        "no": v.code("INC-19999|#199999|T-1999-9|SR19999"), "parent": v.code("PRB-1999|CHG-199|K19999"), "by": v.person(False), "site": v.town(), "seen": v.person(False), "own_old": v.person(False), "own": v.person(False), "ok_by": v.person(False),
        "day": day, "t0": v.time(7, 8), "t1": v.time(9, 10), "t2": v.time(12, 13), "t3": v.time(15, 19), "p_old": v.pick(("low", "P4", "minor")), "p": v.pick(("high", "P1", "major")), "g_old": "Service desk", "g": v.pick(("Network team", "Print team", "Identity team")),
        "dev": v.brand(), "serial": v.code("SN19999A9|99-AA-1999"), "serial2": v.code("ZX19999B9|88-CC-1999"), "v_old": v.version(), "v": v.version(), "err": v.code("E-199|ERR-1999|F19"), "sla": v.span(4, 6, "hours"), "took": v.span(7, 11, "hours"),
        "cause": v.pick(("a worn cable", "a full disk", "an expired certificate", "a wrong clock")), "guess": v.pick(("a power cut", "a virus", "a broken fan", "a locked account")), "fix": v.pick(("the cable was replaced", "old files were removed", "the settings were reset")),
    }
    return s, """
%!
[Ticket|Ticket no.|Number|Case] :: {no}
[Reported by|Opened by|Caller] :: {by}
[Affected|Affected person|For] :: {seen}
[Site|Location] :: {site}
[Device|Asset|Item] :: {dev}
[Parent|Belongs to|Linked to] :: {parent}
? no: Ticket number; What is the number of this ticket?; Reference of this case
? by: Reporter; Who reported the fault?; Person who raised it
? seen: Person affected; Who suffers from the fault?; User concerned
? site: Place; Where did it happen?; Office concerned
? dev: Device concerned; Which device has the fault?; Equipment
? parent: Superior ticket; To which other record is it linked?; Linked record
~ Phone number of the caller; On which number is {by} reached?
~ Cost centre; Which cost centre pays?
%!
[Priority|Severity] :: {p} [(was {p_old})|(raised from {p_old})]
[Assigned to|Owner] :: {own}, {g} [(before: {own_old}, {g_old})|(until then {own_old}, {g_old})]
[Error code|Code] :: {err}
? p: Present priority; How urgent is the ticket now?; Priority now
? p_old: Priority at first; How urgent was it at first?; Former priority
? own: Present assignee; Who works on the ticket now?; Handled now by
? own_old: Former assignee; Who had the ticket before {own}?; Handled first by
? g: Team in charge now; Which team has the ticket now?; Present group
? g_old: Team that had it first; Which team had the ticket first?; Former group
? err: Error shown; Which error was shown?; Error no.
~ Number of users affected; How many users are affected?
%
# [Times|History|Log] ({day})
[Opened|Reported] {t0}, [first answer|first response] {t1}, [solved|repaired] {t2}, [closed|confirmed and closed] {t3} by {ok_by}. Goal: {sla}; [needed|taken]: {took}.
? day: Day of the fault; On which day did it happen?; Date of the log
? t0: Time of the report; At what time was it reported?; Raised at
? t1: Time of the first reaction; When did somebody first answer?; First reaction at
? t2: Time of the repair; At what time was the fault solved?; Resolved at
? t3: Time of closing; At what time was the ticket closed?; Closed at
? ok_by: Closed by; Who closed the ticket?
? sla: Time allowed; Within what time should it be solved?; Agreed time
? took: Time needed; How long did it really take?; Actual time
~ Working time billed; How much working time is billed?
%
# [Cause|Analysis]
At first we suspected {guess}; the cause was {cause}. To solve it, {fix}. The unit {serial} was replaced by {serial2}; version {v_old} was updated to {v}.
? guess: First suspicion; What was suspected at first?; Supposed cause
? cause: Real cause; What caused the fault in fact?; Root cause
? fix: Solution; How was it solved?; Repair
? serial: Serial number of the unit taken out; Which unit was removed?; Old unit
? serial2: Serial number of the unit put in; Which unit was put in?; New unit
? v_old: Version before the update; Which version was there before?; Old version
? v: Version after the update; Which version runs now?; Installed version
~ Supplier of the unit; Who supplied the unit?
"""


SCENES = {"letter that moves a date": moved_letter, "career": career, "minutes with actions": minutes, "ticket": ticket}
