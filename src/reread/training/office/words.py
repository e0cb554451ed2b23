"""Lists of words from which values are made.  All places and firms are invented."""

MONTHS = "January February March April May June July August September October November December".split()
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve".split()
TEENS = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
TENS = ("", "ten", *"twenty thirty forty fifty sixty seventy eighty ninety".split())
TITLES = ("Dr ", "Dr. ", "Prof. ", "Prof. Dr. ")
WOMEN = frozenset(
    """Alice Anya Astrid Beatriz Birgit Carlotta Celine Dalia Delia Diana Eilidh Enid Fiona Frances Freya Gaia Gesine
Greta
Gwen Hanna Helen Ida Ilse Ines Ingrid Irina Jana Jelena Julia Kate Katya Keira Leila Leonie Lidia Livia Lotte Maeve
Manon Margit Maud Mira Moira Nadia Niamh Nina Olena Orla Paloma Paula Petra Philippa Pilar Priya Ramona Rosa Ruth
Sabine Salma Sanna Saoirse Sigrid Sofie Svea Tamar Tessa Thea Ursula Valerie Vera Wanda Yasmin Zelda Zofia""".split()
)
MEN = frozenset(
    """Abel Aldo Amir Arjun Ben Benno Caleb Casper Charles Clemens Damir Desmond Dorian Edward Einar Emeka Esteban Fabio
Fergus Flavio Gareth George Gideon Goran Hugo Ian Ibrahim Idris Ivo Jakob Javier Jonas Joost Karim Lars Lennart Leo
Linus Lorcan Magnus Marcin Martin Mateo Milan Naveen Nils Oliver Omar Oskar Otto Pavel Quentin Rafael Ravi Rhys
Roland Rufus Samir Selim Simon Stellan Tariq Thabo Tobias Tom Tomas Vasil Victor Viggo Wim Yusuf""".split()
)
FIRST_NAMES = """Aaliyah Abel Ada Adil Agata Aino Akira Alba Aldo Amara Amir Anouk Ansel Anya Arjun Asa Astrid Ayla
Babak
Beatriz Benno Birgit Bram Brida Caleb Carlotta Casper Celine Chidi Cillian Clemens Corin Dagny Dalia Damir Darya Delia
Desmond Dimitra Dorian Edda Efe Eilidh Einar Elif Elio Emeka Enid Esme Esteban Fabio Farah Femke Fergus Fiona Flavio
Freya Gaia Gareth Gesine Gideon Goran Greta Gwen Hadi Hanna Haruki Hedda Henrike Hugo Ibrahim Ida Idris Ilse Imani Ines
Ingrid Ioana Irina Isolde Ivo Jakob Jana Javier Jelena Jonas Joost Juno Kaito Kalina Karim Katya Keira Kofi Kwame Lana
Lars Leila Lennart Leonie Levi Lidia Linus Livia Lorcan Lotte Luca Ludmila Maeve Magnus Malik Manon Marcin Margit Mateo
Maud Mei Milan Mira Moira Nadia Naveen Nevin Nia Niamh Nico Nils Noor Odile Olena Omar Orla Oskar Otto Paloma Pavel
Petra
Philippa Pilar Priya Quentin Rafael Ragna Ramona Rana Ravi Renske Rhys Roland Rosa Rufus Runa Sabine Salma Samir Sanna
Saoirse Selim Sigrid Silvan Simone Sofie Soren Stellan Suri Svea Tamar Tariq Tessa Thabo Thea Tilda Tobias Tomas Ugo
Ulla
Uma Ursula Valerie Vasil Vera Viggo Wanda Wim Xenia Yara Yasmin Yusuf Zadie Zelda Zofia Alice Ben Charles Diana Edward
Frances George Helen Ian Julia Kate Leo Martin Nina Oliver Paula Ruth Simon Tom Victor""".split()
SURNAMES = """Abara Adeyemi Alcott Almeida Amadi Andrade Arslan Ashworth Bakshi Balogh Bancroft Barros Becher Bergström
Bianchi Bosman Brannigan Castellan Chaudhry Chen Cortez Dahl Delacroix Devlin Dimov Dragan Duarte Eriksen Esposito Fabre
Farrow Ferrante Fiala Galvin Garrick Ghosh Grieg Gupta Haddad Halloran Hartwig Hassan Hayashi Hegarty Horvat Iqbal
Ivanov
Jansen Jovic Kaplan Kemal Khoury Kimura Kowal Kruger Larkin Laurent Lindqvist Lopes Machado Malone Marchetti Mbeki
Mendel
Moreau Mwangi Nakata Ndiaye Novak Nyberg Obi Okafor Olsen Osei Pacheco Park Pereira Petrov Popescu Quayle Rahman Rao
Reinholt Rossi Sadler Salazar Sato Schreiber Sengupta Sharma Silva Sokolov Sorensen Szabo Tanaka Thorne Ueda Vance Varga
Vasquez Voss Wachter Weiss Whitlock Yamada Yilmaz Zhang Zielinski""".split()
SURNAME_STARTS = """Ald Ard Ash Bald Barn Beck Bell Bern Blan Bor Brad Bran Brem Bris Brock Burn Cal Cant Carl Cold Cor
Cran Dal Dar Den Dor Drum Dun East Eld Elm Fal Fen Fern Find Fol Gal Gar Gil Glen Gold Gran Hal Ham Har Hart Haw Hay Hel
Hol Horn Kel Ken Kil Lam Lang Lin Lock Lund Mal Mar Mel Mer Mil Mor Nor Oak Or Pem Pen Pet Quin Rad Ran Red Rod Ros Row
Sand Sel Shel Stan Stark Sten Stock Sund Tal Tar Thorn Tor Tre Ul Van Ver Wal War Wel West Whit Wil Win Wood
Yar""".split()
SURNAME_ENDS = """ake bach berg beck bourne bury by combe croft dale den dorf er ert feld field ford gate good grave
hall
ham hardt holm holt hurst ing kamp land ley lin lock low man mann mark mere mont more nell ner ness ock off ow quist
ridge
rick rup sen ski son stad stead stein ster stone stow strand ton toft vall vik ward wall way wick win wold wood worth
yard""".split()
COINED_STARTS = """ab ac al am an ar ast au bel bor bra cal can car cel cor cri dal del dor el em en ep fal fen fer flo
gal gen gil gra hal hel hex in is jo kal kel ker kor lam lan lek lor lum mar mel mer mon nel nex nim nor nov ob om or
os pal
pel per pol qua quen ral ren rho ros ru sal sel sil sol sta sul syl tal tel ter tor tri ul um val vel ver vin vol wal
wes
xan yel zan zel zor""".split()
COINED_ENDS = """aco adis ador agon alis amis ando anis ara aris astor atis avo axis bex bria cade cent cora dane
dara dex
dian dora dyne era eris eta evo fane fera fex gard gena gon idis ilo inos iva ivo kara kon lane lara lect lex lia
lune mark
mica mira mond nava nex nia nova ola onis ora oris osa pact para pera phor quin rada rex ria rida ris rona sano sera sia
sive sora stra tane tara teq tera tessa tic tona tora trix tura vane vara vera via vida vista von wave wyn yra zeta
zon""".split()
SECTORS = """Logistics|Foods|Instruments|Textiles|Engineering|Timber|Software|Ceramics|Lighting|Packaging|Chemicals
|Optics
|Catering|Printing|Interiors|Tools|Bakery|Water Systems|Bearings|Medical|Seeds|Glass|Electric|Plumbing|Consulting|Marine
|Cycles|Paper|Steel|Roofing|Analytics|Coffee|Robotics|Cleaning Services|Removals|Furniture|Pumps|Sensors|Insurance
|Property|Fasteners|Gardens|Heating|Dairy|Media|Networks|Coatings|Audio|Farm Supplies
|Motors""".replace("\n", "").split("|")
FORMS = """Ltd|Ltd|Limited|GmbH|Inc.|LLC|B.V.|S.A.|AB|Oy|Pty Ltd|S.r.l.|plc|AG|Corp.|Co.|A/S|SARL|Group|Sp. z o.o.|KG|SE
|Cooperative""".replace("\n", "").split("|")
BODIES = """{p} Town Council|{p} Primary School|{n} Foundation|{p} Public Library|{p} Housing Association
|{p} Rowing Club
|{p} District Court|{p} General Hospital|{p} Chamber of Trade|{p} Museum of Craft|{n} Trust|{p} Community Centre
|{p} Water Authority|{p} Choral Society|County of {p}|{p} Fire Service|{n} College|{p} Allotment Society|Port of {p}
|{p} Tenants' Union|{p} Gliding Club""".replace("\n", "").split("|")
INSTITUTES = """University of {p}|{p} Technical University|{n} Institute|{p} Institute of Technology|{n} Laboratory
|{p} School of Medicine|{p} Agricultural College|National Centre for Soil, {p}|{n} Research Centre
|{p} Observatory""".replace("\n", "").split("|")
TOWN_STARTS = """alder arn ash bas bel bir black bram bren brim cald carn chal cress crom dal darn dex drift dun eas eld
ember fal farn fell fenn flint gal garn glas gors graf had hal harn hazel hex hol horn ing ips kar kel kess kirk lam
lang
lark lin long lor lund mar mel mer mill mos nar neth nor oak ols or ott pel pen pol quar rad ram rav ren rill roth
row sal
san sel shal sil stav stel sten sun tam tarn thal thorn tor ull ulv val vant vel ver wal ward wel wern wes wil wren yar
yel""".split()
TOWN_ENDS = """aby ach aven bank beck berg bourne bridge brook burg bury by cliff cote cross dale dean den don dorf
ey fall
ferry field ford gate grove ham haven heath hill holm hurst ingen keld kirk lade leigh ley low mark marsh mere
minster mont
moor mouth ness over pool port reach ridge rode sand shaw side stad stead stock stone stow thorpe ton vale vik ville
wald
well wick wold wood worth""".split()
STREETS = """Street|Road|Lane|Avenue|Close|Drive|Way|Court|Terrace|Crescent|Place|Row|Hill|Boulevard
|Parade""".replace("\n", "").split("|")
# name, style of addresses, patterns of post codes, patterns of telephone numbers
COUNTRIES = (
    ("United Kingdom", "uk", "AA9 9AA|AA19 9AA|A9 9AA", "01n## ######|+44 n### ######|07### ######"),
    ("United Kingdom", "uk", "AA9 9AA|AA19 9AA", "01n## ### ###|+44 (0)n# #### ####"),
    ("USA", "us", "ST 19999|ST 19999-9999", "(n##) 555-01##|n##-555-01##|+1 n## 555 01##"),
    ("USA", "us", "ST 19999", "(n##) 555-01##|+1-n##-555-01##"),
    ("Canada", "us", "PR A9A 9A9", "+1 n## 555 01##|n##-555-01##"),
    ("Australia", "uk", "AU 1999", "(0n) #### ####|+61 n #### ####"),
    ("Ireland", "uk", "A99 AA99", "+353 1 ### ####|01n ### ####"),
    ("India", "uk", "199999", "+91 n#### #####"),
    ("Germany", "de", "19999", "+49 n## #######|0n## / ## ## ##"),
    ("Austria", "de", "1999", "+43 1 #######"),
    ("Switzerland", "de", "1999", "+41 n# ### ## ##"),
    ("France", "fr", "19999", "+33 n ## ## ## ##|0n ## ## ## ##"),
    ("Belgium", "fr", "1999", "+32 n ### ## ##"),
    ("Italy", "south", "19999", "+39 0n# #######"),
    ("Spain", "south", "19999", "+34 n## ### ###"),
    ("Portugal", "south", "1999-999", "+351 n## ### ###"),
    ("Sweden", "north", "199 99", "+46 n# ### ## ##"),
    ("Netherlands", "north", "1999 AA", "+31 n# ### ####"),
    ("Denmark", "north", "1999", "+45 n# ## ## ##"),
)
REGIONS = {
    "ST": "OH TX ME NC OR VT IA NM WA GA MN".split(),
    "PR": "ON BC NS AB MB".split(),
    "AU": "NSW VIC QLD TAS".split(),
}
ROOMS = """Room {n}|Hall {n}|{p} Hall|{p} Room|Seminar Room {n}|Meeting Room {p}|Building {n}|Gate {n}
|Lecture Theatre {p}
|Workshop {n}""".replace("\n", "").split("|")
MAILBOXES = "info office accounts sales help service orders support contact billing desk team admin bookings".split()
PATHS = "docs start info portal terms about help index guide shop tickets records repo archive forms".split()
PACKAGE_WORDS = """parse core http cli store cache queue json table grid plot auth schema stream tools sync graph
mesh lint
log config vector text math image audio crypt forms mail clock units geo batch typed router proxy index""".split()
MATERIALS = """galvanised|oak|brass|cotton|stainless|ceramic|linen|folding|plastic|rubber|copper|glass|woollen|cast iron
|waterproof|padded|rechargeable|magnetic|adjustable|tempered|bamboo|recycled|heavy-duty|aluminium|nylon|laminated
|cordless
|non-slip|insulated|pine|felt|enamel|leather|carbon|heat-proof|transparent|double-sided|wall-mounted|stackable
|braided""".replace("\n", "").split("|")
THINGS = """hinge|bracket|shelf|lamp|crate|valve|washer|hose|desk|stool|filter|gasket|mat|label roll|cable|switch
|drill bit
|ladder|trolley|tray|tarpaulin|bucket|clamp|pulley|hook|folder|binder|notebook|mug|kettle|apron|glove|helmet|bench
|cabinet
|mirror|curtain|blanket|towel|rope|padlock|handle|wheel|spring|nozzle|funnel|sieve|scale|timer|thermometer|fan|battery
|charger|adapter|tripod|easel|frame|clipboard|whiteboard|stapler|envelope|carton|pallet|wrap|tape|brush|scraper
|trowel|hammer
|chisel|saw blade|bolt|screw|anchor|rivet|seal|pump|tap|basin|pipe|elbow|coupling|drain cover|tile|panel|board|beam
|fence post
|gate|planter|rake|spade|hoe|pot|seed tray|cushion|chair|table|screen|sign|lantern|bell|flask|beaker|pipette|tube rack
|vest""".replace("\n", "").split("|")
ROLES = """project manager|site engineer|treasurer|head of purchasing|office manager|quality officer|technical director
|caretaker|finance officer|safety officer|chief editor|warehouse supervisor|research assistant|secretary|legal adviser
|head nurse|sales representative|systems administrator|training officer|facilities manager|accountant|deputy chair
|laboratory technician|press officer|shift leader|data protection officer|fleet manager|head gardener|chief engineer
|programme coordinator""".replace("\n", "").split("|")
COLOURS = """slate grey|ivory|forest green|navy blue|burgundy|sand|charcoal|ochre|teal|copper red|off-white|lilac
|mustard
|anthracite|olive|sky blue""".replace("\n", "").split("|")
LANGUAGES = "Polish|Swedish|Portuguese|Arabic|Dutch|Turkish|Italian|Greek|Japanese|Hindi|Finnish|Welsh|Czech".split("|")
