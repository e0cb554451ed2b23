"""Minutes, CVs, forms and event pages."""

# fmt: off
from __future__ import annotations

from reread.training.office import words as w
from reread.training.office.extras import TASKS
from reread.training.office.record import Record, Section, Table
from reread.training.office.record import fact as f
from reread.training.office.values import Values

SUBJECTS = (
    "biology|mechanical engineering|law|nursing|history|graphic design|chemistry|accounting|architecture|forestry|"
    "informatics|geography|food technology|social work|music|physics|tourism|philosophy".split("|")
)
DEGREES = "BSc|MSc|BA|MA|Diploma|PhD|BEng|MEng|Certificate".split("|")
MOTIONS = (
    "a new website|higher member fees|the sale of the van|a second caretaker|longer opening hours|"
    "solar panels on the roof|a summer party|the merger of two groups|new statutes|a ban on leaf blowers|"
    "the purchase of a printer|a youth section|the repair of the organ|a new logo|a bicycle shed".split("|")
)
THESES = ("Growth", "Use", "Design", "History", "Cost", "Failure", "Care")
SECOND_LANGUAGES = ("Spanish", "French", "German", "Mandarin", "Norwegian", "Korean")
LEVELS = ("A2", "B1", "B2", "C1", "fluent", "basic")
VENUES = ("Hall", "Theatre", "Barn", "Park", "Gallery", "Arena", "Courtyard", "Pavilion", "Mill", "Library")
SESSIONS = ("Talk", "Workshop", "Concert", "Tour", "Demo", "Panel", "Class")
COURSES = (
    "first aid", "time management", "welding", "spreadsheets", "fire safety", "public speaking", "project planning",
    "data protection", "bookkeeping II", "conflict talks", "crane driving", "food hygiene", "technical English",
    "stress at work", "contract law", "SQL basics", "leading teams", "quality audits", "web design",
)


def minutes(v: Values, size: int) -> Record:
    body = v.body() if v.chance(0.6) else v.firm()
    group = v.pick(("board", "works council", "building committee", "steering group", "project team",
        "parents' council", "finance committee", "general meeting", "safety committee", "editorial team",
        "users' group"))
    chair = v.person()
    facts = (
        f("body", body, "Organisation|Body|Association|Company", "Which organisation held the meeting?|"
            "Whose meeting was it?", "The meeting was held by {v}.|{v} had called the meeting.", kept=True),
        f("group", group, "Group|Committee|Meeting of", "Which group met?|"
            "Who held the meeting at {body}, which committee?", "It was a meeting of the {v}.|The {v} met.", kept=True),
        f("date", v.date(-10, 0), "Date|Meeting date|Date of meeting|Held on",
            "When did the {group} meet?|On which day was the meeting held?", "The {group} met on {v}.|"
            "The meeting took place on {v}.", kept=True),
        f("start", v.time(8, 14), "Start|Opened at|Start time|Begin", "At what time did the meeting begin?|"
            "When was the meeting opened?", "The meeting was opened at {v}.|It began at {v}."),
        f("end", v.time(15, 22), "End|Closed at|End time|Finished", "When did the meeting close?|"
            "At what time was it over?", "The meeting was closed at {v}.|It ended at {v}."),
        f("place", v.room(), "Place|Venue|Location|Held in", "Where did the {group} meet?|"
            "In which room was the meeting?", "The {group} met in {v}.|The place was {v}."),
        f("chair", chair, "Chair|Chairperson|In the chair|Presiding", "Who chaired the meeting?|"
            "Who led the discussion?|Who was in the chair, not taking notes?",
            "{v} was in the chair.|The meeting was led by {v}.", v.person()),
        f("keeper", v.person(), "Minutes|Minutes taken by|Secretary|Minute taker",
            "Who took the minutes?|Who wrote the notes?", "{v} took the minutes.|Notes were taken by {v}."),
        f("apologies", v.person(), "Apologies|Excused|Absent", "Who could not come?|Who sent apologies?",
            "{v} sent apologies.|{v} could not come."),
        f("guest", v.person(), "Guest|Guests|Invited", "Who came as a guest?|Which guest was present?",
            "{v} came as a guest.|As a guest, {v} was present."),
        f("present", f"{v.whole(4, 60)} {v.pick(('members', 'people', 'delegates'))}",
            "Present|Attendance|Number present", "How many were there?|How many took part?",
            "{v} were there.|The list shows {v}."),
    )  # fmt: skip
    more = (
        f("budget", v.money(500, 90000, 0), "Budget|Approved budget|Budget approved",
            "How large a budget was approved?|What sum did the {group} approve?",
            "A budget of {v} was approved.|The {group} approved {v}.", v.money(500, 90000, 0)),
        f("motion", v.pick(MOTIONS), "Motion|Motion put to the vote|Vote on", "What did they vote on?|"
            "What was the motion about?", "The motion was about {v}.|There was a vote on {v}."),
        f("votes", f"{v.whole(5, 30)} for, {v.whole(0, 4)} against", "Result of vote|Votes|Vote",
            "How did the vote end?|How many votes were for and against?", "The vote ended {v}.|Result: {v}."),
        f("proposer", v.person(), "Proposed by|Proposer|Mover", "Who proposed the motion?|"
            "Who put it forward, and did not second it?", "It was proposed by {v}.|{v} put it forward."),
        f("seconder", v.person(), "Seconded by|Seconder", "Who seconded the motion?|Who supported the proposer?",
            "It was seconded by {v}.|{v} seconded it."),
        f("postponed", v.pick(MOTIONS), "Postponed|Deferred item|Put off", "Which item was postponed?|"
            "What will be dealt with later?", "This was postponed: {v}.|Deferred item: {v}."),
        f("report", v.person(), "Report by|Reporter|Presented by", "Who gave the report?|Who presented the figures?",
            "{v} gave the report.|The figures were presented by {v}."),
        f("balance", v.money(200, 40000), "Balance|Cash in hand|Account balance",
            "How much money is in the account?|What is the balance?", "The account stands at {v}.|The balance is {v}."),
        f("next", v.date(14, 60), "Next meeting|Date of next meeting|Next date",
            "When do they meet again?|What is the date of the next meeting?", "They meet again on {v}.|"
            "The next meeting is on {v}.", v.date(61, 90)),
        f("next_place", v.room(), "Place of next meeting|Next venue", "Where will they meet next time?|"
            "What is the place of the next meeting?", "Next time they meet in {v}.|The next place is {v}."),
        f("deadline", v.date(3, 12), "Items for the agenda by|Deadline for items",
            "By when must items for the agenda be sent?|What is the deadline for new items?",
            "Items must be sent by {v}.|New items are taken until {v}."),
        f("elected", v.person(), "Elected|New treasurer|Elected treasurer", "Who was elected treasurer?|"
            "Who looks after the money from now on?", "{v} was elected treasurer.|The new treasurer is {v}."),
    )  # fmt: skip
    titles = (
        "Minutes of the {group}, {date}|MINUTES – {body}, {date}|{body}\nMinutes of the {group}|"
        "Minutes: {group} of {body}|{group_} meeting of {date}|{body} – {group} – minutes of {date}"
    )
    parts: list[Section | Table] = [Section("", facts), Section(v.pick(("Decisions", "Discussion", "Business", "")),
        more)]
    if size > 150 and v.chance(0.6):
        count = v.whole(2, max(2, min(9, size // 90)))
        names = v.some(TASKS, count + 2)
        rows = tuple((name, v.person(titled=False), v.date(3, 120)) for name in names[:count])
        parts.insert(v.whole(1, 2), Table(v.pick(("Tasks", "Who does what", "Action items")), v.pick((("Task", "Who",
            "Until"), ("Item", "Person", "Deadline"))), rows,
            {1: "Who will {row}?|Who has agreed to {row}?|Whose job is it to {row}?",
                2: "Until when is there time to {row}?|"
                ""
                "By what date is someone to {row}?"}, "{1} will {0} until {2}.", tuple(names[count:]),
                    back={1: "What will {cell} do?|"
                "Which task was given to {cell}?"}))
    record = Record("minutes", titles, {"group_": group[:1].upper() + group[1:]}, parts, plain=v.chance(0.4))
    return record


def cv(v: Values, size: int) -> Record:
    person = v.person(titled=False)
    born = v.today.year - v.whole(31, 60)
    facts = (
        f("name", person, "Name|Full name|Applicant|Curriculum vitae of", "Whose CV is this?|"
            "What is the applicant's name?", "My name is {v}.|This is the CV of {v}.", kept=True),
        f("job", v.pick(w.ROLES), "Profession|Current position|Occupation|Present post",
            "What is {name}'s current job?|As what does {name} work now?", "I work as {v}.|At present I am {v}."),
        f("born", v.date_style(v.day(0, 1).replace(year=born)), "Date of birth|Born|Born on|Birth date",
            "When was {name} born?|What is the date of birth?", "I was born on {v}.|Date of birth: {v}."),
        f("birthplace", v.town(), "Place of birth|Birthplace|Born in", "Where was {name} born?|"
            "In which town was the applicant born?", "I was born in {v}.|My place of birth is {v}."),
        f("nation", v.pick(("Irish", "Polish", "Canadian", "Swedish", "Portuguese", "Indian", "Austrian", "Kenyan",
            "Dutch", "Chilean", "Korean", "Greek")), "Nationality|Citizenship|Citizen",
            "What is {name}'s nationality?|Which citizenship does the applicant have?",
            "My nationality is {v}.|I hold {v} citizenship."),
        f("address", v.address(), "Address|Home address|Home|Residence", "Where does {name} live?|"
            "What is the home address?", "I live at {v}.|My address is {v}."),
        f("phone", v.phone(), "Phone|Mobile|Telephone|Tel.", "What is {name}'s phone number?|"
            "How can the applicant be called?", "You can call me on {v}.|My number is {v}.", topic="contact"),
        f("mail", v.email(person), "E-mail|Email|E-mail address|Mail", "What is {name}'s e-mail address?|"
            "Where can one write to {name}?", "My e-mail address is {v}.|Write to me at {v}.", topic="contact"),
        f("web", v.url(), "Website|Homepage|Portfolio|Web", "Which web page does {name} have?|Where is the portfolio?",
            "My work is shown at {v}.|See {v} for my work."),
        f("licence", v.pick(("class B", "classes A and B", "category C1", "class B, own car", "none",
            "fork-lift licence")), "Driving licence|Licence|Driver's license",
            "Which driving licence does {name} hold?|What may the applicant drive?",
            "Driving licence: {v}.|As to driving: {v}."),
    )  # fmt: skip
    study = v.pick(SUBJECTS)
    school = f"{v.town()} {v.pick(('Grammar School', 'High School', 'Lyceum', 'Secondary School', 'Academy'))}"
    university = v.institute()
    more = (
        f("degree", f"{v.pick(DEGREES)} in {study}", "Degree|Highest degree|Qualification",
            "Which degree does {name} have?|What did {name} graduate in, and with what title?",
            "I hold a {v}.|My degree is a {v}."),
        f("university", university, "University|Place of study|Studied at", "Where did {name} study?|"
            "Which university awarded the degree?", "I studied at {v}.|My place of study was {v}.", kept=v.chance(0.3)),
        f("graduated", str(born + v.whole(22, 29)), "Graduated|Year of graduation|Degree year",
            "In which year did {name} graduate?|When was the degree completed?",
            "I graduated in {v}.|The degree was completed in {v}."),
        f("grade", v.pick(("first class", "with distinction", "1.3", "upper second", "cum laude", "3.7 GPA", "good",
            "86 of 100")), "Grade|Final grade|Marks", "With what grade did {name} finish?|What was the final grade?",
            "My final grade: {v}.|Grade: {v}."),
        f("thesis",
            f"{v.pick(THESES)} of {v.pick(w.MATERIALS)} {v.pick(w.THINGS)}s",
            "Thesis|Title of thesis|Thesis title", "What was the thesis about?|What is the title of {name}'s thesis?",
            "My thesis has the title: {v}.|Thesis: {v}."),
        f("school", school, "School|Secondary school|Attended", "Which school did {name} attend?|"
            "Where did {name} go to school?", "I went to school at {v}.|My school was {v}."),
        f("native", v.pick(w.LANGUAGES), "Native language|Mother tongue|First language",
            "What is {name}'s mother tongue?|Which language did {name} grow up with?",
            "My native language is {v}.|I grew up speaking {v}."),
        f("second",
            f"{v.pick(SECOND_LANGUAGES)} ({v.pick(LEVELS)})",
            "Foreign language|Second language|Other language",
            "Which foreign language does {name} know, and how well?|What other language does the applicant speak?",
            "I also speak {v}.|Foreign language: {v}."),
        f("skill", v.pick(("welding", "bookkeeping", "SQL", "technical drawing", "first aid", "sign language",
            "AutoCAD", "beekeeping", "stage lighting", "tax law", "3D printing", "pattern cutting", "statistics")),
            "Special skill|Skills|Main skill", "What special skill is named?|What is {name} good at?",
            "My special skill: {v}.|I am trained in {v}."),
        f("award",
            f"{v.surname()} {v.pick(('Prize', 'Medal', 'Award', 'Scholarship'))} {v.whole(born + 22, born + 30)}",
            "Award|Awards|Prize|Honours", "Which award did {name} win?|What prize did the applicant get?",
            "I was given the {v}.|Award: {v}."),
        f("hobby", v.pick(("chess", "rowing", "bird watching", "pottery", "fell running", "baking bread",
            "model railways", "fencing", "cello", "mushroom picking", "juggling", "sailing")),
            "Hobbies|Interests|Hobby", "What does {name} do in spare time?|What hobby is named?",
            "My hobby: {v}.|In my spare time: {v}."),
        f("referee", v.person(titled=True), "Referee|Reference|Reference from",
            "Who can be asked about {name}?|Who is given as a referee?", "{v} will gladly say more about me.|"
            "My referee is {v}."),
        f("start", v.date(20, 100), "Available from|Earliest start|Can start on",
            "When could {name} begin?|From which day is {name} available?", "I could begin on {v}.|"
            "I am available from {v}."),
        f("pay", v.money(20000, 90000, 0), "Salary expectation|Desired salary|Expected salary",
            "What salary does {name} expect?|How much would {name} like to earn?",
            "I hope for a salary of {v}.|Expected salary: {v}."),
    )  # fmt: skip
    count = v.whole(1, max(2, min(7, size // 110)))
    firms, roles, year = [v.firm() for _ in range(count + 2)], v.some(w.ROLES, count), born + 24
    rows = []
    for index in range(count):
        until = year + v.whole(1, max(1, (v.today.year - year) // (count - index)))
        rows.append((firms[index], roles[index], f"{year} - {until}", v.town_name()))
        year = until
    table = Table(v.pick(("Work experience", "Employment", "Career", "Previous jobs")), v.pick((("Employer", "Post",
        "Years", "Town"), ("Firm", "Role", "From - to", "Place"))), tuple(reversed(rows)),
                  {1: "What was {name}'s job at {row}?|As what did {name} work for {row}?",
                      2: "When did {name} work at {row}?|"
                      ""
                      "In which years was {name} with {row}?", 3: "In which town did {name} work for {row}?|"
                      "Where is the job at {row} located?"},
                  "In the years {2} I was {1} at {0} in {3}.", tuple(firms[count:]),
                  back={1: "Where did {name} work as {cell}?|"
                      ""
                      "At which firm was {name} {cell}?"})
    titles = (
        "{name}\nCurriculum vitae|Curriculum vitae – {name}|CV {name}|CURRICULUM VITAE {name}|Résumé of {name}|{name}"
    )
    parts: list[Section | Table] = [Section(v.pick(("", "Personal details", "About me")), facts), table,
        Section(v.pick(("Education and more", "Further details", "Education, skills", "")), more)]
    if size > 400:
        parts += [courses(v, min(14, size // 110)), papers(v, min(14, size // 110))]
    return Record("CV", titles, {}, parts, mail=False)


def courses(v: Values, count: int) -> Table:
    names = v.some(COURSES, count + 2)
    rows = tuple((name, v.month(-5000, -100), v.body(), v.span(2, 90, "hours")) for name in names[:count])
    asks = {
        1: "When did {name} take the course {row}?|In which month was the course {row}?",
        2: "Where did {name} learn {row}?|Who held the course {row}?",
        3: "How long was the course {row}?|How many hours did {row} take?",
    }
    columns = v.pick((("Course", "Month", "Held by", "Length"), ("Training", "Taken in", "Provider", "Hours")))
    return Table(v.pick(("Courses", "Further training", "Certificates")), columns, rows, asks,
                 "I took the course {0} at {2} in {1} ({3}).", tuple(names[count:]),
                 back={2: "Which course did {name} take at {cell}?"})


def papers(v: Values, count: int) -> Table:
    objects = [f"{a} {b}s" for a, b in zip(v.some(w.MATERIALS, count + 2), v.some(w.THINGS, count + 2), strict=True)]
    made = [f"{v.pick(THESES)} of {one}" for one in objects]
    rows = tuple((name, f"{v.coined()} {v.pick(('Letters', 'Review', 'Quarterly', 'Bulletin'))}",
                  str(v.today.year - v.whole(1, 12)), f"{page} - {page + v.whole(3, 24)}")
                 for name, page in zip(made[:count], v.some(range(1, 900), count), strict=True))
    asks = {
        1: "Where did the paper \"{row}\" appear?|In which journal was \"{row}\" published?",
        2: "In which year did \"{row}\" come out?|When was \"{row}\" published?",
        3: "On which pages is \"{row}\"?|Which pages does \"{row}\" fill?",
    }
    columns = v.pick((("Title of paper", "Journal", "Year", "Pages"), ("Paper", "Appeared in", "In", "pp.")))
    return Table(v.pick(("Publications", "Papers", "Articles")), columns, rows, asks,
                 "My paper {0} appeared in {1}, {2}, pages {3}.", tuple(made[count:]),
                 back={1: "Which paper appeared in {cell}?"})


def form(v: Values, size: int) -> Record:
    person = v.person()
    office = f"{v.town()} {v.pick(('Town Council', 'District Office', 'Citizen Service', 'County Office'))}"
    purpose = v.pick(("library card", "parking permit", "change of address", "dog licence", "school place",
        "allotment garden", "stall at the market", "membership", "building permit", "travel grant", "childcare place",
        "road closure", "hall hire", "refund of fees", "visitor badge"))
    yes = v.pick((("Yes", "No"), ("yes", "no"), ("YES", "NO")))
    facts = (
        f("number", v.code("F-19999|A/1999/9|199-999-999|Y19999|FRM1999"), "Form number|Application no.|Case number|"
            "File no.", "Which number was given to the form?|What is the application's number?",
            "The application has the number {v}.|File number: {v}.", kept=True),
        f("purpose", purpose, "Application for|Purpose|Subject of application|Request",
            "What is applied for?|What does {name} want?", "This is an application for: {v}.|Applied for: {v}.",
            kept=True),
        f("office", office, "Office|Sent to|Authority|Received by", "Which office handles the form?|"
            "Where is the form handed in?", "The form goes to {v}.|It is handled by {v}.", kept=True),
        f("name", person, "Name of applicant|Applicant|Full name|Name", "Who filled in the form?|"
            "Who is the applicant?|Who applies?", "The applicant is {v}.|{v} applies.", kept=True),
        f("born", v.date(-25000, -7000), "Date of birth|Born on|Birth date|DOB",
            "When was {name} born?|What is the applicant's date of birth?", "{name} was born on {v}.|"
            "Date of birth: {v}."),
        f("address", v.address(), "Address|Home address|Residence|Present address",
            "Where does {name} live?|What is the applicant's address?", "{name} lives at {v}.|"
            "The home address is {v}.", v.address()),
        f("phone", v.phone(), "Phone|Telephone|Daytime phone|Mobile", "On which number can {name} be reached?|"
            "What is the applicant's telephone number?", "{name} can be called on {v}.|The telephone number is {v}.",
            topic="contact"),
        f("mail", v.email(person), "E-mail|Email address|E-mail address", "What is {name}'s e-mail address?|"
            "Where can the office write to by e-mail?", "The e-mail address is {v}.|Write to {v}.", topic="contact"),
        f("job", v.pick(w.ROLES), "Occupation|Job|Profession", "What does {name} do for a living?|"
            "What is the applicant's occupation?", "{name} works as {v}.|Occupation: {v}."),
        f("status", v.pick(("single", "married", "widowed", "divorced", "in a civil partnership", "separated")),
            "Marital status|Family status", "Is {name} married or single?|What is the applicant's marital status?",
            "Marital status: {v}.|{name} is {v}."),
        f("identity", v.code("A1999999|C99AA999|X199999|L9AA99AA9|199999999"),
            "ID number|Passport no.|Identity card no.|ID card", "What is the number of {name}'s identity card?|"
            "Which ID number is given?", "The ID number is {v}.|{name} showed a card with the number {v}."),
        f("second", v.person(), "Emergency contact|Next of kin|In case of emergency",
            "Who is to be told in an emergency?|Who is {name}'s next of kin?",
            "In an emergency, tell {v}.|The next of kin is {v}."),
        f("second_phone", v.phone(), "Emergency phone|Phone of next of kin|Emergency number",
            "Which number is to be called in an emergency?|What is the phone number of the next of kin?",
            "In an emergency, call {v}.|The next of kin can be called on {v}.", topic="contact"),
    )  # fmt: skip
    more = (
        f("from", v.date(10, 60), "Valid from|Wanted from|Start date|From",
            "From which day is the {purpose} wanted?|When should it start?", "It is wanted from {v}.|"
            "It should start on {v}.", v.date(61, 90)),
        f("to", v.date(100, 400), "Until|Valid until|End date|Wanted until", "Until when is the {purpose} wanted?|"
            "On which date should it end?", "It is wanted until {v}.|It should end on {v}."),
        f("fee", v.money(5, 250), "Fee|Fee paid|Amount paid|Charge", "How much is the fee?|What did {name} pay?",
            "The fee is {v}.|{name} paid {v}."),
        f("people", f"{v.whole(2, 9)} {v.pick(('adults', 'persons', 'household members'))}",
            "Household|Number of persons|Persons", "How many people are named?|How large is the household?",
            "The form names {v}.|Persons: {v}."),
        f("vehicle", v.code("AAA 999|AB19 AAA|A-AA 1999|19-AA-99"), "Registration|Licence plate|"
            "Vehicle registration|Car number", "What is the registration of the car?|"
            "Which licence plate does {name} have?", "The car has the number {v}.|Registration: {v}."),
        f("consent", v.pick(yes), "Consent to data use|Agrees to data use|Data use allowed",
            "Does {name} agree to the use of the data?|Was consent given?", ""),
        f("first", v.pick(yes), "First application|First request", "Is it the first application?", ""),
        f("reason", v.pick(("move to a new flat", "birth of a child", "loss of the old card", "change of job",
            "start of studies", "damage by water", "new business", "illness in the family", "school trip",
            "club anniversary")), "Reason|Reason for application|Grounds", "Why does {name} apply?|"
            "What reason is given?", "The reason: {v}.|Reason given: {v}."),
        f("account", v.code("GB19 AAAA 1999 9999 9999 99|DE19 1999 9999 9999 9999 99|1999-99.999.99"),
            "Account for refund|IBAN|Bank account", "To which account can money be paid?|"
            "What is {name}'s bank account?", "Money can be paid to {v}.|The account is {v}."),
        f("signed", v.date(-10, -1), "Signed on|Date of signature|Date signed",
            "When did {name} sign?|On what day was the form signed?", "{name} signed on {v}.|"
            "The form was signed on {v}."),
        f("received", v.date(0, 6), "Received on|Date received|Stamp of receipt",
            "When did the form arrive?|On which day did the office receive it?",
            "It arrived on {v}.|The office received it on {v}."),
        f("clerk", v.person(), "Clerk|Processed by|Handled by|Case worker", "Who deals with the application?|"
            "Which clerk handled it?", "It is dealt with by {v}.|{v} handles the case.", v.person()),
        f("decision", v.pick(("granted", "refused", "pending", "granted with conditions", "returned", "passed on")),
            "Decision|Outcome|Result", "What was decided?|How did the application end?",
            "Decision: {v}.|The application was {v}."),
    )  # fmt: skip
    dates = tuple(one for one in more if one.key in ("from", "to"))
    rest = tuple(one for one in more if one not in dates)
    titles = (
        "Application for {purpose} – {number}|{office}\nApplication: {purpose}|FORM {number}: {purpose}|"
        "{office}: form {number}|Application {number}|Request form {number}, {office}"
    )
    parts: list[Section | Table] = [Section(v.pick(("", "Section A: applicant", "1. Applicant", "Your details")),
        facts + dates), Section(v.pick(("Section B", "2. Details", "Further details", "For the office", "")), rest)]
    return Record("form", titles, {}, parts, mail=False)


def event(v: Values, size: int) -> Record:
    host = v.body() if v.chance(0.6) else v.firm()
    what = v.pick(("Open Day", "Book Fair", "Jazz Night", "Repair Café", "Spring Market", "Science Slam",
        "Charity Run", "Film Evening", "Poetry Reading", "Bread Festival", "Robot Contest", "Lantern Walk",
        "Summer School", "Plant Swap", "Chess Open", "Choir Weekend", "Harvest Dinner", "Photo Exhibition",
        "Coding Workshop", "Folk Dance"))
    name = f"{v.coined() if v.chance(0.4) else v.town_name()} {what}"
    facts = (
        f("name", name, "Event|Title|Name of event|What", "What is the event called?|Which event is announced?",
            "Come to the {v}!|We invite you to the {v}.", kept=True),
        f("host", host, "Organiser|Host|Organised by|Presented by", "Who organises the {name}?|Who is the host?",
            "It is organised by {v}.|{v} is the host.", kept=True),
        f("date", v.date(10, 90), "Date|Event date|Day|When", "On which day is the {name}?|When does it take place?",
            "The {name} takes place on {v}.|Come on {v}.", v.date(91, 140)),
        f("doors", v.time(8, 12), "Doors open|Doors|Admission from|Entry from",
            "When do the doors open?|From what time can one get in?", "Doors open at {v}.|You can come in from {v}."),
        f("start", v.time(13, 19), "Starts at|Start|Begins|Start time", "At what time does it start, not the doors?|"
            "When does the programme begin?", "The programme begins at {v}.|It starts at {v}.", v.time(20, 21)),
        f("end", v.time(22, 23), "Ends at|End|Closes|End time", "When is it over?|At what time does the {name} end?",
            "It is over at {v}.|We close at {v}."),
        f("venue",
            f"{v.town_name()} {v.pick(VENUES)}",
            "Venue|Location|Where|Place", "Where is the {name} held?|In which place does the event take place?",
            "It is held in {v}.|The venue is {v}.", v.room()),
        f("address", v.address(), "Address|Venue address|How to find us|Street address",
            "What is the address of the venue?|Which street must visitors go to?",
            "The address is {v}.|You find us at {v}."),
        f("price", v.money(5, 90), "Tickets|Admission|Ticket price|Entry", "How much is a ticket?|"
            "What does it cost to get in?|What does a full-price ticket cost?",
            "A ticket costs {v}.|Admission is {v}."),
        f("reduced", v.money(1, 4), "Reduced|Concessions|Reduced price|Students",
            "What do students pay?|How much is a reduced ticket?", "Students pay {v}.|The reduced price is {v}."),
        f("seats", v.number(20, 2400), "Capacity|Places|Number of places|Seats",
            "How many people can take part?|How many places are there?", "There are {v} places.|"
            "We have room for {v} people."),
        f("register", v.date(1, 9), "Register by|Registration deadline|Sign up by",
            "Until when can one register?|What is the deadline for signing up?",
            "Please register by {v}.|You can sign up until {v}."),
        f("speaker", v.person(titled=True), "Speaker|Main guest|Guest of honour|Keynote",
            "Who will speak?|Who is the main guest?", "{v} will speak.|The main guest is {v}.", v.person()),
        f("moderator", v.person(), "Moderator|Host of the evening|Led by", "Who leads through the programme?|"
            "Who moderates, and is not the main guest?", "{v} leads through the programme.|The moderator is {v}."),
        f("contact", v.person(), "Contact|Ask|Information from|Contact person",
            "Whom can visitors ask?|Who gives information?", "{v} will answer your questions.|"
            "For information, ask {v}.", topic="contact"),
        f("phone", v.phone(), "Phone|Info line|Tickets by phone|Tel.", "Which number can one call?|"
            "How can tickets be ordered by phone?", "Call {v} for tickets.|The number to call is {v}.",
                topic="contact"),
        f("web", v.url(), "Website|Tickets online|Web|More at", "Where are tickets sold online?|"
            "Which web page has more details?", "Tickets are sold at {v}.|See {v} for more."),
        f("bus", v.pick((f"bus {v.whole(2, 99)}", f"tram {v.whole(1, 19)}", f"line S{v.whole(1, 9)}",
            f"ferry {v.digits('A1')}")), "Public transport|Bus|By bus or train|Getting there",
            "Which bus or train goes to the venue?|How can one get there without a car?",
            "Take {v}.|The best way to come is {v}."),
        f("parking", v.town_name() + " " + v.pick(("Street car park", "garage", "field", "station car park")),
            "Parking|Car park|Where to park", "Where can visitors park?|Which car park is near?",
            "You can park at {v}.|Cars can be left at {v}."),
        f("age", v.pick(("from 6 years", "18 and over", "12 to 16 years", "all ages", "under 10 with an adult",
            "from 16 years", "60 and over")), "Age|Ages|Suitable for|Age limit",
            "For which age is it?|How old must visitors be?", "Age: {v}.|It is meant for this age: {v}."),
        f("language", v.pick(w.LANGUAGES), "Language|Event language|Held in (language)",
            "In which language is the event held?|What language is spoken?", "The event is held in {v}.|"
            "The language is {v}."),
        f("sponsor", v.firm(), "Sponsor|Sponsored by|Supported by", "Who sponsors the {name}?|"
            "Which firm supports the event?", "It is sponsored by {v}.|{v} supports the event."),
        f("series", f"{v.whole(2, 60)}{v.pick(('th edition', 'th year'))}".replace("2th", "12th").replace("3th",
            "13th").replace("1th", "11th").replace("112th", "12th").replace("111th", "11th").replace("113th", "13th"),
            "Edition|Held for", "For which time is the {name} held?|Which edition is it?",
            "This is the {v}.|We are in the {v}."),
    )  # fmt: skip
    parts: list[Section | Table] = [Section("", facts[:9])]
    if size > 160 and v.chance(0.6):
        count = v.whole(2, max(2, min(8, size // 90)))
        talks = [
            f"{v.pick(SESSIONS)} \"{v.pick(w.MATERIALS).capitalize()} {v.pick(w.THINGS)}\"" for _ in range(
            count + 6)]
        talks = list(dict.fromkeys(talks))
        rows = tuple((t, v.time(13, 20), v.room(), v.person(titled=False)) for t in talks[:count])
        parts.append(Table(v.pick(("Programme", "Timetable", "What's on")), v.pick((("Session", "Time", "Room", "With"),
            ("Item", "Starts", "Stage", "Host"))), rows,
            {1: "At what time is the {row}?|When does the {row} start?", 2: "Where is the {row}?|"
                "In which room is the {row}?", 3: "Who gives the {row}?|Who is in charge of the {row}?"},
                "The {0} with {3} is at {1} in {2}.", tuple(talks[count:count + 2]),
                back={3: "Which session does {cell} give?|"
                    ""
                "What is {cell} in charge of?"}))
    parts.append(Section(v.pick(("Practical details", "Good to know", "Information", "")), facts[9:]))
    titles = (
        "{name}|{host} presents: {name}|{name} | What's on at {host}|{name} – {host}|Save the date: {name}|"
        "{host}\n{name}".replace(" | What's", ", what's")
    )
    return Record("event page", titles, {}, parts, plain=v.chance(0.3))
