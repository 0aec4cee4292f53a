# SPDX-License-Identifier: MIT
# ruff: noqa: E501
"""The text that the sample model is trained on: a stochastic grammar, written for this project.

Input: a `random.Random`. Output: documents (str), one call each, without end; a document is one
or more pieces, each of one kind.

Every template is plain English in which `[a|b|c]` is a choice (choices nest; an empty choice is
allowed) and `{name}` is a slot. Most documents have an order (a definition, then how it works,
then why it matters), so that a model trained on them learns to move on and to end.
"""

import re

# --- The template language ---------------------------------------------------------------------

_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")


def expand(rng, template, slots=None):
    """One text of a template: innermost choices first, then slots, then tidy spaces."""
    text = template
    while True:
        match = _CHOICE.search(text)
        if match is None:
            break
        pick = rng.choice(match.group(1).split("|"))
        text = text[: match.start()] + pick + text[match.end() :]
    if slots:
        text = _SLOT.sub(lambda match: str(slots[match.group(1)]), text)
    text = re.sub(r" +", " ", text)
    text = re.sub(r" ([,.;?!])", r"\1", text)
    return text.strip(" ")


def capital(text):
    return text[:1].upper() + text[1:]


# fmt: off
# --- Explanations ------------------------------------------------------------------------------
# subject | questions | ordered sentences | one-sentence summary

TOPICS = [
    (
        "an electric kettle",
        ["How does an electric kettle work?", "Why is a kettle quiet just before it boils?",
         "Explain how an electric kettle heats water."],
        ["An electric kettle [turns electrical energy into heat|heats water with a metal element].",
         "[The element sits under|A plate lies below] the water, and [a current flows through it|it becomes very hot] when the switch is [pressed|on].",
         "[At first|In the first minute] small bubbles form [near the bottom|on the hot metal] and collapse again[, which makes a loud noise|, and that is the noise we hear].",
         "When all of the water is [hot|close to boiling], the bubbles [rise to the top|no longer collapse], and the kettle [becomes quiet|sounds softer].",
         "[Steam then reaches|The steam goes down a small pipe to] a thin strip of metal that bends and [turns off the power|opens the switch].",
         "A kettle [of two kilowatts|with a power of two kilowatts] needs about [three|four] minutes for one litre of water.",
         "[It saves energy to heat only the water that you need.|Heating more water than you need wastes energy.]"],
        "A kettle heats water with an electric element and switches off when steam bends a strip of metal.",
    ),
    (
        "a refrigerator",
        ["How does a refrigerator keep food cold?", "Explain how a refrigerator works.",
         "Why is the back of a refrigerator warm?"],
        ["A refrigerator [moves heat from the inside to the outside|is a machine that moves heat].",
         "A [liquid|special liquid] flows through thin pipes and [evaporates|turns into a gas] behind the wall of the cold room.",
         "[When a liquid evaporates, it takes heat from its surroundings|Evaporation takes heat away], so the food [becomes cold|loses its warmth].",
         "A small [compressor|pump] then [presses the gas together|squeezes the gas], and the gas [becomes hot|warms up].",
         "The hot gas [gives its heat to the air of the kitchen|cools in the pipes at the back] and becomes a liquid again.",
         "[That is why|For this reason] the back of a refrigerator is warm.",
         "If the door [is opened often|stays open for a long time], warm air [flows in|gets inside] and the machine must [work longer|use more energy]."],
        "A refrigerator moves heat from the food to the air of the kitchen by evaporating and compressing a liquid.",
    ),
    (
        "bread",
        ["Why does bread rise?", "Explain why bread dough grows in a warm place.",
         "What does yeast do in bread?"],
        ["Bread is made of flour, water, salt and [yeast|a little yeast].",
         "Yeast is [a tiny living thing|alive], and it [eats the sugar in the flour|feeds on sugar].",
         "While it eats, it [makes a gas|gives off a gas] that [forms small bubbles|collects in bubbles] in the dough.",
         "The dough is [elastic|soft and stretches easily], so the bubbles stay inside and the dough [grows|becomes larger].",
         "In a warm [kitchen|room] this takes about one hour, but in a cold room it [takes much longer|may take all night].",
         "In the hot oven the bubbles [grow once more|expand], and then the crust [becomes firm and brown|turns brown and hard].",
         "[Fresh bread should rest for a while before it is cut.|Let the bread cool before you cut it.]"],
        "Bread rises because yeast makes bubbles of gas that the dough holds.",
    ),
    (
        "tea",
        ["How do you make a good cup of tea?", "Why does tea become bitter?",
         "Explain what happens when tea leaves meet hot water."],
        ["Tea is made from the [dried leaves|leaves] of a small [bush|tree] that grows in [warm and wet|mild and rainy] places.",
         "Hot water [takes the colour and the taste out of the leaves|draws out the colour and the flavour].",
         "Black tea wants [boiling water|very hot water], but green tea [tastes better with cooler water|likes water that has cooled a little].",
         "After [three|four] minutes most of the [good flavour|aroma] is in the cup.",
         "If the leaves stay [in the pot for too long|in the water much longer], the tea becomes [bitter|dark and bitter].",
         "[Some people add milk, and others like a slice of lemon.|A little honey makes it sweet.]"],
        "Hot water draws the taste out of tea leaves, and too much time makes the tea bitter.",
    ),
    (
        "vegetable soup",
        ["How do you cook a simple vegetable soup?", "Why does soup taste better the next day?",
         "Describe how to make soup from vegetables."],
        ["A vegetable soup begins with onions that are [cut into small pieces|chopped] and [fried gently|cooked slowly] in oil.",
         "[Carrots, potatoes and celery|Carrots, leeks and potatoes] follow, because they need [the most time|longer than the rest].",
         "Then [hot water or broth|two litres of broth] and a little salt are added, and the pot is [covered|closed with a lid].",
         "[After twenty minutes|When the carrots are soft], the [beans and the herbs|peas and the herbs] go in.",
         "The soup should [simmer|cook gently] and not boil hard, [for the vegetables fall apart otherwise|so that the vegetables keep their shape].",
         "On the next day the soup often tastes [better|richer], because the flavours have had time to [mix|meet].",
         "A lid on the pot [saves about half of the energy|keeps the heat in and saves energy]."],
        "Cook the hard vegetables first, add the soft ones later, and keep a lid on the pot.",
    ),
    (
        "compost",
        ["What is compost?", "How does a compost heap work?",
         "Why is a compost heap warm inside?"],
        ["Compost is [dark, soft earth|a dark and crumbly earth] that is made from [leaves, grass and kitchen scraps|old plants].",
         "Worms, fungi and [very small creatures|tiny bacteria] eat the [dead plants|scraps] and break them into [small parts|simple parts].",
         "This work [gives off heat|makes heat], so the middle of a large heap is [warm|hot], even in [winter|the cold months].",
         "The heap needs [air and some water|both air and water]; without air it begins to [smell|smell bad].",
         "A gardener therefore [turns the heap with a fork|mixes the heap] every few weeks.",
         "After [half a year|several months] the compost can be [spread on the beds|mixed into the soil], where it [feeds the plants|helps the vegetables to grow]."],
        "Compost is earth made by small creatures that eat dead plants and need air and water.",
    ),
    (
        "tomato plants",
        ["How do you grow tomatoes?", "What do tomato plants need?",
         "Explain how to care for tomato plants in a garden."],
        ["Tomato plants like [sun, warmth and rich soil|a warm and sunny place].",
         "The seeds are [sown indoors|put into small pots] in [March|early spring], because frost [kills young plants|would kill them].",
         "[In May|When the nights are mild], the plants move into the garden, [half a metre apart|with enough room between them].",
         "Each plant is tied to a [stick|strong stick], since its stem cannot [carry the heavy fruit|hold the weight of the tomatoes].",
         "Water them [at the roots|near the ground] in the morning, and keep the leaves [dry|as dry as possible], for wet leaves [become ill|fall ill easily].",
         "[The first fruit is ripe in July.|By the middle of summer the first tomatoes turn red.]",
         "[Ripe tomatoes are soft, red and sweet.|A ripe tomato comes off with a gentle turn.]"],
        "Tomatoes need warmth, a stick to lean on, and regular water at the roots.",
    ),
    (
        "bees",
        ["Why are bees important?", "How do bees make honey?",
         "Explain what bees do for a garden."],
        ["Bees [fly from flower to flower|visit many flowers] and collect [nectar|a sweet juice called nectar].",
         "While they [drink|work], yellow dust sticks to [their legs|the hair of their bodies] and is [carried to the next flower|left on the next flower].",
         "[Only then can the plant make fruit and seeds.|Without this help many plants would have no fruit.]",
         "In the hive the bees [pass the nectar from mouth to mouth|store the nectar in small cells of wax] and [dry it with their wings|move the air with their wings] until it is thick.",
         "The result is honey, which [feeds the bees in winter|is their food for the cold months].",
         "A garden with [many kinds of flowers|flowers from spring to autumn] helps bees [more than any machine could|to find food all year]."],
        "Bees carry dust between flowers so that fruit can grow, and turn nectar into honey.",
    ),
    (
        "rain",
        ["Why does it rain?", "Where does rain come from?", "Explain how rain forms."],
        ["The sun [warms the sea|shines on lakes and seas], and a part of the water [rises into the air|evaporates] as an invisible gas.",
         "[High above the ground|Up there] the air is [cold|much colder], and the gas becomes [tiny drops|very small drops of water].",
         "[Millions of these drops|These drops together] are a cloud.",
         "The drops [meet and join|bump into each other and grow], and when they are [too heavy|heavy enough], they fall as rain.",
         "The rain [fills the rivers|soaks into the ground], and the rivers [carry the water back to the sea|bring it home to the sea].",
         "[So the same water travels again and again.|This journey is called the water cycle.]"],
        "Water evaporates from the sea, cools into clouds, and falls back as rain.",
    ),
    (
        "wind",
        ["What is wind?", "Why does the wind blow?", "Explain what causes the wind."],
        ["Wind is air that moves [from one place to another|across the land].",
         "The sun does not warm the earth [evenly|everywhere in the same way]; [dry land|a dark field] becomes warm [sooner than water|faster than the sea].",
         "Warm air is [lighter|less dense] than cold air, so it [rises|goes up].",
         "Cooler air [flows in from the side|moves in] to take its place, and [this flow|this movement] is the wind.",
         "[On the coast|Near the sea] the wind often comes from the water [by day|in the afternoon] and from the land [at night|after dark].",
         "A [wind turbine|windmill] can turn this movement into [electricity|useful work]."],
        "Wind is air that flows in where warm air has risen.",
    ),
    (
        "snow",
        ["How does snow form?", "Why is snow white?", "Explain what snow is made of."],
        ["Snow is made of [small crystals of ice|ice crystals] that grow in [cold clouds|high and cold clouds].",
         "Each crystal has six [arms|sides], because of the way in which [water freezes|the smallest parts of water fit together].",
         "[On their way down|As they fall], many crystals [hook together|stick together] and become a soft flake.",
         "A layer of snow holds [a great deal of air|much air], so it [keeps the ground warm|protects the plants from the frost].",
         "It looks white because [the crystals send all colours of the light back|light of every colour is scattered by the crystals].",
         "[Fresh snow also swallows sound, and the street becomes quiet.|After a night of snow the whole town is quiet.]"],
        "Snow is a loose mass of six-sided ice crystals, full of air, that scatters light of every colour.",
    ),
    (
        "fog",
        ["What is fog?", "Why is there fog in the morning?", "Explain how fog forms over a river."],
        ["Fog is a cloud that [touches the ground|lies on the ground].",
         "It forms when [moist air becomes cold|damp air cools], for example over a [river|meadow] on a [clear|calm] night.",
         "The [invisible water in the air|moisture] turns into [tiny drops|many small drops] that [float|hang] in the air.",
         "[In thick fog one can see only a few metres.|Drivers must go slowly, because they cannot see far.]",
         "When the sun [rises|is higher], the air [warms up|becomes warmer] and the drops [disappear|evaporate] again.",
         "[By noon the fog is often gone.|Then the fog lifts, and the day becomes bright.]"],
        "Fog is a cloud on the ground that forms in cool, moist air and leaves when the sun warms it.",
    ),
    (
        "thunder",
        ["Why do we see lightning before we hear thunder?", "What causes thunder?",
         "Explain how far away a storm is."],
        ["In a storm cloud, [drops and pieces of ice rub against each other|ice and water move up and down].",
         "[This separates electric charges|In this way the cloud becomes charged], and when the difference is [too large|great enough], a spark [jumps|flashes] through the air.",
         "The spark heats the air so [quickly|fast] that it [expands with a bang|explodes], and that is the thunder.",
         "Light reaches us [at once|almost at once], but sound needs about three seconds for [each kilometre|one kilometre].",
         "If you count [six|nine] seconds between the flash and the thunder, the storm is [only a few|not many] kilometres away.",
         "[Stay inside, and keep away from tall trees.|During a storm it is safe inside a house or a car.]"],
        "Lightning heats the air until it bangs, and we hear it late because sound is slower than light.",
    ),
    (
        "a battery",
        ["How does a battery work?", "Why does a battery become empty?",
         "Explain what is inside a battery."],
        ["A battery [stores energy|keeps energy] in [chemical form|the form of chemicals].",
         "It has two [ends|poles] of different materials, with [a liquid or a paste|a paste] between them.",
         "When the [circuit is closed|lamp is switched on], small charged parts move [inside the battery|through the paste], and electrons flow [through the wire|outside].",
         "[This flow is the current that lights the lamp.|The flow of electrons is the electric current.]",
         "When one of the materials is [used up|spent], the battery is [empty|flat].",
         "In a battery that can be [charged|filled again], a current in the [other|opposite] direction [restores the materials|turns the change back].",
         "[Heat makes batteries age faster.|A cool place is best for a battery.]"],
        "A battery turns chemical energy into a current until its materials are used up.",
    ),
    (
        "an electric motor",
        ["How does an electric motor work?", "What makes an electric motor turn?",
         "Explain the parts of an electric motor."],
        ["An electric motor turns [electrical energy|electricity] into [motion|movement].",
         "Inside it there is a coil of [copper wire|wire] that can turn [freely|between magnets].",
         "A current in the coil makes it a magnet too, and [the two magnets push each other|it is pushed by the others].",
         "After half a turn the direction of the current is [changed|reversed], so the coil is [pushed on|pushed again] and keeps turning.",
         "[Fans, pumps and trains|Mixers, drills and trams] are all driven by such motors.",
         "A good motor loses only [a small part|little] of the energy as heat, [while an old engine loses most of it|which an engine that burns fuel cannot do]."],
        "A current makes a coil magnetic, and magnets push it round and round.",
    ),
    (
        "a bicycle",
        ["Why does a bicycle have gears?", "How do the gears of a bicycle help on a hill?",
         "Explain how a bicycle stays upright."],
        ["A bicycle [carries a person|takes its rider] farther with the same [strength|effort] than walking does.",
         "The chain [brings the force of the legs|carries the force] to the rear wheel.",
         "In a low gear the wheel turns [slowly|only a little] for each turn of the pedals, so it is [easy to climb a hill|easier to go uphill].",
         "In a high gear each turn takes the rider [a long way|farther], which is good on [flat roads|a flat road].",
         "The rider stays upright by [steering a little to the left and to the right|small turns of the handlebar] all the time.",
         "A clean chain and [hard tyres|full tyres] make the ride [light|much easier]."],
        "Gears trade force for distance, so that the rider can climb hills and go fast on flat roads.",
    ),
    (
        "a light bulb",
        ["Why does an LED lamp use less energy than an old bulb?", "How does a light bulb work?",
         "Compare an old light bulb with an LED lamp."],
        ["In an old light bulb a thin wire is heated until it [glows|becomes white hot].",
         "Most of the energy leaves the bulb as [heat|warmth], and only a small part as [light|light that we can see].",
         "An LED lamp has no hot wire; [a small crystal gives off light|light comes from a small crystal] when a current flows through it.",
         "[For the same light|To give the same light], the old bulb needs sixty watts and the LED lamp about [seven|eight].",
         "The LED lamp also lasts [ten times as long|many years longer].",
         "[Still, the best way to save energy is to turn off the light when nobody is in the room.|A lamp that is switched off needs no energy at all.]"],
        "An old bulb makes mostly heat, while an LED lamp makes light from a crystal with far less energy.",
    ),
    (
        "a solar panel",
        ["How does a solar panel make electricity?", "Do solar panels work on cloudy days?",
         "Explain how a solar panel works."],
        ["A solar panel turns [sunlight|light] directly into [electricity|an electric current].",
         "It is made of many [thin cells|cells] of silicon, [joined by thin wires|connected in a row].",
         "When light [falls on a cell|hits the silicon], it [sets electrons free|pushes electrons loose], and they flow [in one direction|through the wires].",
         "The power is highest when the sun is [high and the air is clear|high in the sky].",
         "On a cloudy day a panel still [works|gives some power], but it [makes much less|yields only a small part].",
         "Panels work better when they are [cool|cold], so a sunny and windy day in [spring|April] is [ideal|often the best].",
         "[At night the house needs a battery or the grid.|In the evening the energy must come from a battery or the grid.]"],
        "Light frees electrons in silicon cells, which gives a current that follows the sun.",
    ),
    (
        "an energy meter",
        ["How does an energy meter work?", "What does an energy meter measure?",
         "Explain how to measure the energy of a machine."],
        ["An energy meter measures [how much energy a machine uses|the energy that flows through a wire].",
         "It reads the voltage and the current [many times in each second|thousands of times in a second] and [multiplies them|takes their product].",
         "The product is the power, [in watts|which is given in watts].",
         "[When the power of every moment is added up|Added up over time], it becomes energy, in joules or in [kilowatt hours|watt hours].",
         "No meter is [perfect|exact]: each reading has a small error, and [it is honest to say how large it is|a good report states it].",
         "To learn what a task costs, [measure the idle machine first|first measure the machine at rest] and [subtract that part|take that part away].",
         "[Repeat the measurement several times, and compare the results.|One measurement is never enough.]"],
        "A meter multiplies voltage and current many times a second and adds the power up to energy.",
    ),
    (
        "the watt and the joule",
        ["What is the difference between a watt and a joule?", "What is a joule?",
         "Explain the difference between power and energy."],
        ["A joule is a unit of energy, and a watt is a unit of power.",
         "Power [tells how fast energy is used|is energy per second]: one watt is one joule [in each second|per second].",
         "[A lamp of ten watts|A small lamp with ten watts] therefore uses ten joules in one second and [six hundred joules in one minute|six hundred in a minute].",
         "[Think of water|It helps to think of water]: power is [how strongly the tap runs|the flow from the tap], and energy is [how full the bucket is|the water in the bucket].",
         "A strong machine that [works for a short time|is soon finished] can use less energy than a weak one that [runs all day|never stops].",
         "[That is why one should always state the time together with the power.|To compare two machines, compare the energy for the same task.]"],
        "Energy is the amount, in joules, and power is the speed at which it is used, in watts.",
    ),
    (
        "a graphics processor",
        ["Why are graphics processors used for language models?", "What is a graphics processor?",
         "Explain why a graphics processor needs a fan."],
        ["A graphics processor has [thousands of small units|very many small units] that [calculate at the same time|work side by side].",
         "It was [made for pictures|first built to draw pictures], in which every point can be computed [alone|without the others].",
         "A language model needs [many multiplications of the same kind|the same kind of work], so it [fits this machine well|runs well on such a processor].",
         "[While it works hard|Under full load], the processor may use [three hundred|four hundred] watts, and almost all of it becomes heat.",
         "A fan [carries the heat away|blows the heat away]; if the chip is [too hot|too warm], it [slows down|lowers its clock] to protect itself.",
         "[For a fair test, wait until the temperature is steady.|A careful test therefore begins with a warm-up.]"],
        "A graphics processor does many small calculations at once and turns its power into heat.",
    ),
    (
        "a language model",
        ["What is a language model?", "How does a language model write text?",
         "Explain in simple words what a language model does."],
        ["A language model is a program that [predicts the next piece of a text|guesses how a text goes on].",
         "The text is cut into [small pieces|short pieces] that are called tokens; [a token is often a word or a part of a word|many words are one token, and long words are several].",
         "For each token in its list the model computes [a number|a score] that says how likely it is [to come next|as the next one].",
         "One token is chosen and [added to the text|written down], and then [the work begins again|everything starts again] with the longer text.",
         "The model has learned [from many examples|from a large amount of text], but it [does not look anything up|has no book to look into].",
         "[So it can be wrong, even when it sounds sure.|For this reason its answers must be checked.]",
         "Each token costs [time and energy|some time and some energy], and a larger model [needs more of both|costs more]."],
        "A language model predicts the next token again and again, and each token costs time and energy.",
    ),
    (
        "prefill and decode",
        ["What is the difference between prefill and decode?",
         "Why is the first token of an answer slow?",
         "Explain the two phases of text generation."],
        ["A language model answers in two [phases|steps], which are called prefill and decode.",
         "In prefill it reads the whole prompt [at once|in one pass], and [all tokens are computed together|the processor is fully busy].",
         "[What it has learned about each token|The result for each token] is kept in memory, so that it need not be computed [twice|again].",
         "In decode it writes one token [after the other|at a time], and for every token [all weights are read from memory|it must read all of its weights].",
         "So prefill is limited by [the speed of the calculation|arithmetic], and decode by [the speed of the memory|memory].",
         "A long prompt [delays the first token|makes the first token late], while a long answer [costs the most energy|takes most of the time].",
         "[It is useful to measure both phases apart.|A good report shows the two phases separately.]"],
        "Prefill reads the whole prompt at once, and decode writes one token at a time.",
    ),
    (
        "a warm-up",
        ["Why should a benchmark begin with a warm-up?", "What is a warm-up run?",
         "Explain why the first run of a program is slow."],
        ["The first run of a program is often [slower than the others|the slowest].",
         "Files must be [read from the disk|loaded], memory must be [found|reserved], and the processor is still [cold and at a low clock|at rest].",
         "A warm-up run does all of this [before the clock is started|ahead of the real measurement].",
         "Its result is [thrown away|not counted].",
         "After [two or three|a few] runs the times [differ only a little|become steady], and the measurement can [begin|start].",
         "[Without a warm-up, one would measure the start and not the work.|Otherwise the average would be too high.]"],
        "A warm-up brings the machine into a steady state, so that only the work itself is measured.",
    ),
    (
        "an idle baseline",
        ["What is an idle baseline?", "Why do we subtract the idle power?",
         "Explain how to find the energy that a task adds."],
        ["A computer uses power even when it [does nothing|has nothing to do].",
         "This power is called the idle baseline, and it may be [twenty|fifty] watts or more.",
         "[To find it|To measure it], close [all other programs|every other program] and [watch the meter|read the meter] for [half a minute|one minute].",
         "Then [run the task|start the task] and measure [the total energy|the energy of the whole machine].",
         "The energy that the task adds is the total [minus the baseline times the duration|less the idle power times the time].",
         "[Both numbers are useful|Report both numbers], because somebody must pay for the [idle part|baseline] as well."],
        "The baseline is the power of a machine at rest, and it is subtracted to see what a task adds.",
    ),
    (
        "measurement noise",
        ["Why do two measurements of the same thing differ?", "What is measurement noise?",
         "Explain why one should repeat a measurement."],
        ["Two measurements of the same thing [are seldom equal|almost never agree exactly].",
         "The sensor is [not perfect|read at slightly different moments], the room becomes [warmer|cooler], and other programs [wake up|do some work].",
         "These small, random differences are called noise.",
         "If you repeat the measurement and take the average, the noise [becomes smaller|partly cancels].",
         "With four times as many runs, the error of the average is [halved|about half as large].",
         "An error that is [always the same|always in the same direction] does not [go away|disappear] in this way; [for that you need a second instrument|only a better sensor helps].",
         "[A number without its error says little.|A result should always be given with its uncertainty.]"],
        "Noise makes readings differ by chance, and the average of many runs reduces it.",
    ),
    (
        "a clock",
        ["How does a clock keep time?", "Why does a computer need a good clock?",
         "Explain how a quartz clock works."],
        ["Every clock counts something that [repeats|happens again and again in the same time].",
         "In an old clock it is the [swing of a pendulum|pendulum], and in a [wristwatch|modern clock] it is a small crystal.",
         "The crystal is made of quartz, and a [little electricity|small current] makes it [tremble|vibrate] more than thirty thousand times in a second.",
         "A chip counts [these movements|the vibrations] and moves the hand once in each second.",
         "Heat and cold change the crystal [a little|slightly], so a cheap clock may be wrong by [some seconds|a few seconds] in a month.",
         "[Computers ask better clocks for the time and correct themselves.|To measure how long a task takes, a computer uses a clock that never jumps back.]"],
        "A clock counts something regular, such as the vibrations of a quartz crystal.",
    ),
    (
        "a water pump",
        ["How does a water pump work?", "How can water be brought up from a well?",
         "Explain what a pump does in a garden."],
        ["A pump moves water [from a low place to a high place|uphill].",
         "In a simple hand pump a [round piece|piston] is pulled up in a [pipe|tube], and the water [follows it|is pushed up behind it by the air].",
         "A small flap [closes|falls shut], so that the water cannot [flow back|run down again].",
         "In an electric pump a wheel with [curved blades|blades] turns [quickly|very fast] and throws the water [outward|into the pipe].",
         "The higher the water must go, the more energy is [needed|used].",
         "[A pump should never run dry, for water also cools it.|When it runs without water, a pump becomes hot and breaks.]"],
        "A pump lifts water with a piston or a turning wheel, and more height costs more energy.",
    ),
    (
        "a washing machine",
        ["Why does washing at a low temperature save energy?",
         "How does a washing machine clean clothes?", "Explain what a washing machine does."],
        ["A washing machine [cleans clothes|washes clothes] with water, soap and movement.",
         "The drum turns [to and fro|slowly], lifts the clothes and [lets them fall|drops them] into the water.",
         "Soap [surrounds the dirt|loosens the dirt] and carries it away.",
         "Then the drum turns very fast, and the water is [pressed out|thrown out] through [small holes|the holes in its wall].",
         "Most of the energy is needed to heat the water, [not to turn the drum|while the motor needs little].",
         "So washing at thirty degrees instead of sixty [saves more than half of the energy|uses less than half of the energy].",
         "[A full drum saves energy as well.|Wait until the drum is full.]"],
        "Water, soap and movement clean the clothes, and heating the water costs most of the energy.",
    ),
    (
        "the moon",
        ["Why does the moon change its shape?", "Why do we always see the same side of the moon?",
         "Explain the phases of the moon."],
        ["The moon [has no light of its own|does not shine by itself]; it is lit by the sun.",
         "One half of it is always [bright|in the light], and the other half is [dark|in the dark].",
         "In about [four weeks|twenty-nine days] it travels around the earth, and we see [more or less|a larger or a smaller part] of the bright half.",
         "At new moon the dark side [faces us|is turned to us], and at full moon the whole [disc|face] is bright.",
         "The moon also pulls at the sea, and this [causes the tides|makes the water rise and fall twice a day].",
         "[A clear night in winter is the best time to look at it.|Even small glasses show its mountains.]"],
        "We see the lit half of the moon from changing sides as it travels around the earth.",
    ),
    (
        "the seasons",
        ["Why are there seasons?", "Why is it warmer in summer?",
         "Explain why the days are short in winter."],
        ["The earth travels around the sun once in a year, and its axis is [tilted|not upright].",
         "In summer our half of the earth leans [towards the sun|to the sun], so the light falls [steeply|from high above] and the days are long.",
         "In winter it leans [away|away from the sun], the light comes in [low|at a flat angle], and it is spread over [more ground|a larger area].",
         "The distance to the sun [has little to do with it|is not the reason]; in fact the earth is nearest in January.",
         "When it is summer in the north, it is winter in the south.",
         "[Plants and animals follow the length of the day.|Many birds leave in autumn and return in spring.]"],
        "The tilted axis of the earth turns each half to the sun for half of the year.",
    ),
    (
        "a river",
        ["Where does a river begin?", "Why do rivers bend?", "Describe the way of a river to the sea."],
        ["A river begins as a [spring|small spring] in the hills, where water [comes out of the ground|leaves the rock].",
         "Many [small streams|brooks] join it, and it becomes [wider|wide] and [slower|deeper].",
         "[In the plain|On flat land] it flows in bends, because the water is faster on the [outer|outside] bank and [takes earth away there|cuts into it].",
         "On the inner bank the water is slow and [leaves sand|drops its sand].",
         "[Towns grew beside rivers|People built towns by rivers], since boats could [bring goods|carry wood and stone].",
         "In the end the river [reaches the sea|flows into the sea], and [its water becomes salt|its journey is over]."],
        "A river grows from a spring, bends on flat land, and ends in the sea.",
    ),
    (
        "a bridge",
        ["How does a bridge carry its load?", "Why do old bridges have arches?",
         "Explain why a bridge needs gaps between its parts."],
        ["A bridge must carry [its own weight|itself] and the weight of [all that crosses it|people and cars].",
         "In an arch [every stone presses against its neighbour|the stones press against each other], and the force goes [into the banks|to the two ends].",
         "Stone is strong when it is [pressed|squeezed] and weak when it is pulled, so the arch [suits it well|is the right shape].",
         "Steel can be pulled [without harm|too], and long bridges [hang on cables|are held by cables] of steel.",
         "In summer a bridge becomes [a little longer|longer], because [warm steel grows|heat makes steel expand].",
         "[That is why there are small gaps in the road.|Small gaps leave room for this.]"],
        "Arches press and cables pull, and gaps leave room for the heat of summer.",
    ),
    (
        "a thermometer",
        ["How does a thermometer work?", "How is temperature measured?",
         "Explain how a computer knows how warm it is."],
        ["A thermometer shows how [warm|hot or cold] something is.",
         "In the old kind a [coloured liquid|red liquid] stands in a thin tube of glass; when it becomes warm, it [takes up more room|expands] and [climbs|rises].",
         "In a computer there is [a small electric part|a tiny sensor] instead, whose [voltage|resistance] changes with the heat.",
         "The chip reads it [many times a second|often] and turns the fan faster [if necessary|when it is needed].",
         "A thermometer shows [its own temperature|only its own warmth], so one must wait until it is [as warm as its surroundings|no longer changing].",
         "[In the shade it shows the temperature of the air, but not in the sun.|Never place it in the sun if you want to know the temperature of the air.]"],
        "A thermometer turns a change with heat, of length or of voltage, into a number.",
    ),
    (
        "memory in a computer",
        ["Why does a computer have a cache?", "What is the memory of a computer for?",
         "Explain the difference between memory and disk."],
        ["A computer keeps its data in several places, some [small and fast|fast], some [large and slow|slow].",
         "The disk is large and keeps everything [without power|when the machine is off].",
         "The main memory is [much faster|faster], but it [forgets everything|loses its content] when the power is gone.",
         "The cache is smaller still and sits [beside the processor|on the chip itself].",
         "Data that was used [a moment ago|just now] is [likely to be needed again|often needed again soon], so it is kept there.",
         "[It is like a kitchen|Think of a kitchen]: the salt stands [on the table|by the stove], the flour in the cupboard, and the rest is in the shop.",
         "Moving data [costs more energy than computing with it|often costs more energy than the calculation]."],
        "Fast memory is small and slow memory is large, so data that is used often is kept near.",
    ),
    (
        "insulation",
        ["How can a house lose less heat?", "What does insulation do?",
         "Explain why two panes of glass are better than one."],
        ["Heat always flows from [a warm place to a cold one|warm to cold].",
         "In winter a house loses it through [the roof, the walls and the windows|walls, roof and windows].",
         "Insulation is a material that [lets heat pass only slowly|slows this flow], such as [wool, foam or cork|wood fibre or foam].",
         "It works because it [holds still air|is full of small pockets of air], and still air [carries little heat|is a poor conductor].",
         "For the same reason a window has two or three panes [with a gap between them|and air or gas between them].",
         "[A well insulated house needs only a small heater.|Good insulation also keeps the house cool in summer.]"],
        "Insulation holds still air, and still air lets heat pass only slowly.",
    ),
]

# --- People, places, stories -------------------------------------------------------------------

SHE = ["Anna", "Mira", "Lucy", "Clara", "Ines", "Rosa", "Emma", "Nora", "Hanna", "Zoë", "Maya",
       "Ella", "Lena", "Ruth", "Sofia"]
HE = ["Tom", "Ben", "Oskar", "Jonas", "Paul", "Leo", "Henry", "Samir", "Karl", "René", "Milan",
      "David", "Felix", "Hugo", "Peter"]

PLACES = [
    "a small town by the sea", "a quiet village in the hills", "an old house near the river",
    "a narrow street behind the market", "a farm at the edge of the forest",
    "a harbour town with red roofs", "a village between two lakes", "a tall house in the city",
]
TOWNS = [place for place in PLACES if "town" in place or "village" in place]
WEATHER = [
    "It was a [cold|grey|windy] morning, and [the street was empty|nobody was outside].",
    "The rain had stopped, and the [roofs|stones|leaves] were still wet.",
    "The sun was [low|warm|bright], and the [birds were singing|windows were open].",
    "There was fog over the [river|fields], and everything was [quiet|still].",
    "It had snowed all night, and the [garden|town] was white.",
    "A warm wind came from the [sea|south|hills], and [clouds moved quickly|the trees moved].",
    "It was [late|evening|almost dark], and the first [lamps were lit|stars came out].",
]

# Each story is a list of beats; {N} the hero, {S}/{s} she or he, {p} her or his, {o} her or him,
# {F} the friend, {T}/{t} the friend's pronoun, {P} the place, {V} a town.
STORIES = [
    ("the lighthouse lamp", [
        "{N} [lived in|looked after] the lighthouse near {V}.",
        "One evening the great lamp [went dark|did not light], just as a [storm|thick fog] came in from the sea.",
        "{S} [climbed the stairs|ran up the stairs] and [opened the case|looked at the wires], but [could not find the fault|everything seemed to be in order].",
        "Then {s} heard [a small sound|a ticking] behind the wall and found [a loose wire|a broken switch].",
        "{p_cap} hands were cold, and the wind [shook the windows|pulled at the door], yet {s} [worked on|did not give up].",
        "[At last|Near midnight] the lamp [came back|shone again], and far away a ship [answered with its horn|turned away from the rocks].",
        "In the morning {F} [came up the path|knocked at the door] with [warm bread|a basket of apples]. \"[We saw your light|You brought us home],\" {t} said.",
        "{N} [smiled|laughed] and [put the kettle on|made tea for two]. From that day on, a spare [wire|switch] lay [beside the lamp|in the drawer].",
    ]),
    ("the stubborn clock", [
        "In {V} there was a clock that was always [ten minutes late|a little late].",
        "{N}, who [repaired watches|mended clocks], was asked to [set it right|repair it].",
        "{S} [took it apart|opened the case] and cleaned every wheel, but on the next day the clock was late [again|once more].",
        "{S} changed the [spring|oil], and still it was late.",
        "[Then {s} sat down and watched.|So {s} decided to measure instead of guessing.] {S} wrote down the time [every hour|at every hour] for a whole day.",
        "The numbers showed that the clock lost time only [in the afternoon|after noon], when the sun [shone through the window|warmed the wall].",
        "\"It is the heat,\" {s} [told|said to] {F}. \"[The pendulum grows longer|A warm pendulum is a slow pendulum].\"",
        "They [hung a curtain|moved the clock into the shade], and from then on it [kept good time|was right]. [People almost missed the old mistake.|The whole street set its watches by it.]",
    ]),
    ("the garden key", [
        "{N} found a [small|rusty] key [under a stone|in the earth] while {s} was digging in the garden.",
        "It fitted [no door|none of the doors] in the house, and {F} [did not know it|had never seen it] either.",
        "So {s} [hung it on a nail|kept it in a pocket] and [forgot about it|thought of it often].",
        "In [spring|autumn], when the ivy was cut, a little [green|wooden] door appeared in the wall.",
        "The key [turned|went in], [slowly and with much noise|after a drop of oil], and the door [opened|swung open].",
        "Behind it was [a second garden|an old garden], full of [wild roses|apple trees], where nobody had been for [many years|a very long time].",
        "{N} and {F} [cleared the paths|cut the grass] and [set up a bench|planted beans and flowers].",
        "[In summer the whole street came to sit there.|They left the door open, so that everybody could come in.] The key still hangs [on the wall|beside the door], but nobody needs it [now|any more].",
    ]),
    ("the talking robot", [
        "{N} built a robot out of [an old radio and two bicycle wheels|kitchen parts and a box].",
        "It could [carry plates|water the plants], and it answered every question with [\"maybe\"|a beep].",
        "One day {F} [asked it|wanted to know] how much energy it used.",
        "The robot [was silent for a while|stopped in the middle of the room]. \"[I do not know,\" it said. \"Nobody has ever measured it.|That is a good question,\" it said.]\"",
        "So they [borrowed a meter|connected a meter] and wrote the numbers [on the wall|into a notebook].",
        "At rest it used [five|eight] watts, and while it carried plates it used [forty|sixty].",
        "But when it was asked a [hard question|long question], the needle [jumped|went up] to [one hundred|ninety]. \"Thinking is [heavy|hard work],\" said the robot.",
        "After that they asked it only [good questions|one question a day], and it [answered each of them with great care|was happy to answer]. [The plants were watered all the same.|It never said \"maybe\" again.]",
    ]),
    ("the bread contest", [
        "Every [autumn|year] there was a bread contest in {V}.",
        "{N} had [never won|lost three times], because {p} bread was always [too flat|too hard].",
        "\"[What do I do wrong?|Tell me your secret,]\" {s} [asked|said to] {F}, the [old|best] baker.",
        "\"You [hurry|are in a hurry],\" said {F}. \"[Dough has its own clock.|Give the dough a night, and it will give you a loaf.]\"",
        "This time {N} [mixed the dough in the evening|began a day earlier], covered it with a cloth and [went to bed|left it in the cool room].",
        "In the morning it had [doubled|grown to twice its size], and the [whole house|kitchen] smelled [good|of fresh bread].",
        "The judges [cut the loaf|took a slice], and for a while [nobody spoke|they only ate].",
        "{N} won [the second prize|a silver spoon], [and that was enough|which was better than any prize before]. {F} had won the first, [of course|as always].",
    ]),
    ("the lost dog", [
        "A small [brown|white] dog sat in front of {N}'s door, [wet and tired|with a torn leash].",
        "{N} gave it [some water and a piece of bread|a bowl of milk] and [dried it with a towel|let it lie near the stove].",
        "There was no name on its collar, only [a number|half of an address].",
        "Together they [walked from house to house|went through the streets], but nobody [knew the dog|had lost a dog].",
        "At the [bridge|market] they met {F}, who [looked at the collar|listened to the story]. \"That is [the number of a boat|a house on the other side of the river],\" {t} said.",
        "They [took the ferry|crossed the river], and suddenly the dog [began to run|pulled at the leash].",
        "An old man [stood up from a bench|came out of a house] and [could not say a word|dropped his hat], so [happy|glad] was he.",
        "Since then {N} has [visited them every Sunday|had two good friends on the other side of the river].",
    ]),
    ("the dark village", [
        "One [winter|December] night the power failed in {V}.",
        "[The windows went dark|All the lamps went out], the [pumps|machines] stopped, and it became [very quiet|so quiet that one could hear the snow].",
        "{N} [lit a candle|took a torch] and went to [the old mill|the mill by the river], where a [small turbine|water wheel] stood.",
        "It had not [turned|worked] for [twenty|thirty] years, and [ice covered the gate|the gate was stuck].",
        "{F} brought [a hammer and hot water|a long pole], and together they [freed the wheel|opened the gate].",
        "The wheel [groaned|creaked], then it turned, and one [lamp|bulb] above the door [began to glow|lit up].",
        "It was not [much|enough for everyone]: [enough for the school|just enough for one hall]. So the whole village [came there|met there], with [soup and blankets|bread, blankets and a violin].",
        "In the morning the power [came back|returned], but [nobody wanted to go home at once|they kept the wheel in order from then on].",
    ]),
    ("the quiet inventor", [
        "{N} was an inventor who [spoke little|liked silence], and {p} workshop was in {P}.",
        "{S} wanted to build a fan that [made no noise|nobody could hear].",
        "The first one was [silent, but it moved no air|too slow], and the second [shook the table|flew off the table].",
        "{S} made the blades [longer|wider], then [thinner|shorter], and tested each of them with [a feather|a thread] and a meter.",
        "On a walk {s} saw [an owl|a gull] fly over the [field|harbour] [without a sound|in complete silence].",
        "{S} looked at [a feather|its wings] closely and gave the blades a [soft|ragged] edge, [like a comb|like the feather of a bird].",
        "The new fan [turned and turned|ran all night], and {F}, who [slept beside it|sat beside it], asked when {s} would [switch it on|start it].",
        "\"It [is on|has been on since the evening],\" said {N}, and that was [the longest speech of the week|all that {s} said about it].",
    ]),
    ("the weather book", [
        "For [forty|thirty] years {N} had written down the weather of every day in {V}.",
        "[People smiled at it|Some people laughed]: \"[What is it good for?|You cannot change the weather.]\"",
        "Then came a [dry|hot] summer, and the [wells|springs] were [nearly empty|almost dry].",
        "The [mayor|teacher] wanted to [dig a new well|bring water from far away], which would cost [a great deal of money|more than the village had].",
        "{N} [opened the book|came with three thick books] and showed {o_friend} that every [seventh|ninth] year had been dry, and that the rain had always come [in the second week of September|with the first storms of autumn].",
        "\"[We must save water for six weeks|If we are careful, there is enough],\" {s} said, \"[and not for longer|and then the rain will come].\"",
        "They [watered the gardens only at night|shared the water], and they waited.",
        "On the [tenth|twelfth] of September {F} felt the first drop [on {t_p} hand|on the nose]. Nobody [smiled at|laughed about] the book [after that|again].",
    ]),
    ("the letter from the sea", [
        "While {N} walked along the beach, {s} saw a [green|blue] bottle between the stones.",
        "There was a piece of paper inside, with only [one sentence|a few words]: \"[Please answer|Tell me what you see from your window].\"",
        "There was an address in [a country far away|another country], and the date was [eleven|nine] years old.",
        "{N} [thought about it for three days|did not know what to do] and then [wrote a long letter|described everything]: the boats, the [gulls|clouds], the [red roofs|old harbour] and the smell of [salt|fish and rain].",
        "For [weeks|two months] nothing came, and {F} said, \"[Who would still live there?|Do not hope too much.]\"",
        "Then the [postwoman|postman] brought a thick envelope. It was from [a young woman|a young man] who had thrown the bottle into the water [as a child|when she was seven|on a holiday].",
        "\"[I had forgotten it,\" the letter said, \"but the sea had not.\"|Yours is the only answer I ever received,\" the letter said.]",
        "They [still write to each other|have written every month since then], and [next summer|some day] they will [meet|stand on the same beach].",
    ]),
    ("the school garden", [
        "Behind the school in {V} there was a [dusty|bare] yard where nothing grew.",
        "{N}, the new teacher, [brought a spade|asked the children what they would like to eat].",
        "\"[Strawberries!|Carrots!]\" they called, and so they [dug four beds|broke up the hard ground].",
        "The first seeds [dried out|were eaten by birds], and some of the children [were disappointed|wanted to give up].",
        "{F}, an old gardener, [leaned over the fence|stopped at the gate]. \"[Feed the soil, not the plant|First the compost, then the seed],\" {t} said.",
        "They [collected leaves and kitchen scraps|built a compost heap], measured how [warm|wet] it was [every day|each Monday], and drew a [curve|chart] on the wall.",
        "In the [second|next] spring the earth was [dark and soft|full of worms], and [everything grew|the beds turned green].",
        "[In June they ate the first strawberries, one for each child.|The carrots were small and crooked, and nobody had ever eaten better ones.]",
    ]),
    ("the slow train", [
        "{N} missed the fast train and had to take the [slow one|small train with only two cars].",
        "It stopped [everywhere|at every village], and {s} looked [at the clock|at {p} watch] [again and again|every few minutes].",
        "Across from {o} sat {F} with [a cage|a large basket] on {t_p} knees. \"[Are you in a hurry?|Is somebody waiting for you?]\" {t} asked.",
        "\"[I was|Yes],\" said {N}, \"[but it is too late now|but it is no use].\"",
        "They [shared an apple|began to talk], and {F} told {o} about [the pigeons in the basket|the bees that {t} kept], which always [find their way home|know where they live].",
        "Outside there were [yellow fields|lakes], [a heron|two deer] and a [boy|girl] who [waved|ran beside the train].",
        "When {N} [arrived|got off], {s} was two hours late and [had a jar of honey in {p} bag|felt better than in many weeks].",
        "[Since then {s} has taken the slow train whenever {s} could.|The meeting, {s} learned, had been put off in any case.]",
    ]),
]

# --- Recipes and instructions ------------------------------------------------------------------

TASKS = [
    ("make a cup of tea", ["Fill the kettle with [fresh|cold] water.", "Heat the water until it boils.",
        "Put [one spoon of tea|a tea bag] into the pot.", "Pour the water over the [leaves|tea].",
        "Wait for [three|four] minutes.", "Take the leaves out, and [serve the tea|pour a cup]."]),
    ("bake a simple loaf of bread", ["Mix [five hundred grams of flour|the flour] with salt and yeast.",
        "Add [warm|lukewarm] water and knead the dough for ten minutes.",
        "Cover the bowl, and let the dough rest for [an hour|one hour].", "Form a loaf, and put it on a [tray|baking sheet].",
        "Bake it in a hot oven for [forty|thirty-five] minutes.", "Let the bread cool before you cut it."]),
    ("plant beans in the garden", ["Choose a [sunny|warm] place.", "Loosen the soil with a [fork|spade].",
        "Make holes that are three centimetres deep.", "Put [two|three] seeds into each hole.",
        "Cover them with earth, and water them [well|gently].", "Set up a pole for each plant when the leaves appear."]),
    ("repair a flat tyre", ["Take the wheel off the bicycle.", "Lift the tyre from the rim with [two levers|a lever].",
        "Pull the tube out, pump it up, and look for the hole [in a bowl of water|with your wet hand].",
        "Dry the tube, and roughen the place with [sandpaper|fine paper].", "Put glue on it, wait a little, and press the patch on.",
        "Put everything back, and pump up the tyre."]),
    ("measure the energy of a program", ["Close all other programs.", "Measure the idle power for [thirty seconds|one minute].",
        "Run the program [once or twice|two times] as a warm-up.", "Start the meter, run the program, and stop the meter.",
        "Subtract the idle part from the total.", "Repeat this [five|ten] times, and report the average with its error."]),
    ("clean a coffee machine", ["Empty the [water tank|tank] and fill it with water and [vinegar|a little lemon acid].",
        "Let half of it run through the machine.", "Wait for [fifteen|twenty] minutes.", "Let the rest run through.",
        "Rinse the tank, and fill it with fresh water.", "Let the fresh water run through twice."]),
    ("make a vegetable soup", ["Chop [one onion|two onions] and fry it gently in oil.", "Add [carrots and potatoes|carrots, leeks and potatoes] in small pieces.",
        "Pour in [one litre|two litres] of hot broth.", "Cover the pot, and let the soup simmer for twenty minutes.",
        "Add the herbs, salt and pepper.", "Taste it, and serve it with [bread|fresh bread]."]),
    ("start a compost heap", ["Find a place in the [shade|half shade].", "Put a layer of [branches|twigs] on the ground, so that air can get in.",
        "Add leaves, grass and kitchen scraps in thin layers.", "Keep the heap [moist|damp], but not wet.",
        "Turn it with a fork every [month|few weeks].", "Use the compost after about half a year."]),
    ("write a short report", ["Decide what the reader must know.", "Put the most important [result|number] into the first sentence.",
        "Describe how you measured it.", "Give the error of each number.", "Say what you do not know.", "Read it aloud, and [cut|remove] every word that is not needed."]),
    ("change a light bulb", ["Switch off the [lamp|light], and let the bulb cool.", "Stand on a [firm|safe] chair or a ladder.",
        "Turn the old bulb to the left, and take it out.", "Screw the new bulb in, but not too tightly.", "Switch the lamp on to test it.", "Bring the old bulb to the [shop|recycling point]."]),
    ("save energy at home", ["Heat only the rooms that you use.", "Put a lid on every pot.", "Wash at thirty degrees, and only with a full drum.",
        "Switch machines off instead of leaving them [idle|on standby].", "Replace old bulbs with LED lamps.", "Read the meter [every month|once a week], and write the number down."]),
    ("prepare a picnic", ["Look at the weather [first|before you go].", "Make sandwiches with [cheese and tomatoes|eggs and salad].",
        "Wash some [apples|grapes], and fill a bottle with [tea|water].", "Pack a blanket, cups and a small knife.", "Choose a place in the shade.", "Take everything home again, also the [rubbish|paper]."]),
    ("build a bird house", ["Saw [six|five] boards from untreated wood.", "Drill a round hole of three centimetres into the front.",
        "Screw the walls and the floor together.", "Fix the roof so that it can be opened for cleaning.", "Hang the house [two|three] metres above the ground, away from cats.", "Clean it every autumn."]),
    ("test a new sensor", ["Read the manual, and note the range and the error.", "Connect the sensor, and let it warm up for [ten|five] minutes.",
        "Compare it with a second instrument at [three|four] known values.", "Record readings for [one hour|a whole day].", "Draw the readings, and look for jumps and drift.", "Write down what you found, together with the serial number."]),
]

# --- Lists -------------------------------------------------------------------------------------

LISTS = [
    ("vegetables that grow well in a small garden", ["lettuce", "radishes", "beans", "carrots", "onions", "spinach", "tomatoes", "peas", "beetroot", "courgettes"]),
    ("things to take on a walk in the rain", ["an umbrella", "a warm coat", "dry socks", "boots", "a bag that keeps out water", "a hat", "hot tea", "a small towel"]),
    ("tools that every kitchen needs", ["a sharp knife", "a large pot", "a wooden spoon", "a cutting board", "a scale", "a grater", "a pan", "a sieve"]),
    ("ways to save energy at home", ["use a lid when you cook", "wash at a low temperature", "turn off the lights", "heat fewer rooms", "dry clothes in the air", "close the curtains at night", "boil only the water that you need", "unplug old chargers"]),
    ("words for kinds of weather", ["sunny", "windy", "foggy", "rainy", "cloudy", "stormy", "snowy", "mild", "frosty", "dry"]),
    ("machines that use a motor", ["a fan", "a washing machine", "a drill", "a lift", "a tram", "a pump", "a mixer", "a refrigerator", "a lawn mower"]),
    ("questions to ask before buying a machine", ["How much power does it use?", "How long will it last?", "Can it be repaired?", "How loud is it?", "What does it cost?", "Is there a smaller one?", "Do I need it at all?"]),
    ("reasons to repeat a measurement", ["the sensor has noise", "the room may become warmer", "another program may be running", "the first run is slow", "a single number hides its error", "you may have read it wrong"]),
    ("animals that live near a river", ["ducks", "herons", "frogs", "otters", "swans", "trout", "beavers", "dragonflies"]),
    ("things you can do without electricity", ["read a book", "play the guitar", "cook on a wood stove", "write a letter", "repair a shirt", "plant a tree", "tell a story", "ride a bicycle"]),
    ("parts of a computer", ["the processor", "the memory", "the disk", "the fan", "the power supply", "the screen", "the keyboard", "the graphics card"]),
    ("units and what they measure", ["the watt measures power", "the joule measures energy", "the second measures time", "the metre measures length", "the volt measures voltage", "the ampere measures current", "the degree measures temperature"]),
    ("fruits that are ripe in autumn", ["apples", "pears", "plums", "grapes", "quinces", "walnuts", "blackberries"]),
    ("herbs for a window box", ["basil", "parsley", "thyme", "mint", "chives", "rosemary", "sage", "oregano"]),
    ("good habits for a programmer", ["write a test first", "give things clear names", "measure before you optimise", "read the error message", "keep functions short", "save your work often", "explain the problem to a friend"]),
    ("things to see in a small town", ["the old bridge", "the market", "the town hall", "the library", "the harbour", "the museum of clocks", "the park by the river"]),
]

# --- Short questions and answers ---------------------------------------------------------------

FACTS = [
    ("How many days are in a week?", "There are seven days in a week."),
    ("How many months are in a year?", "There are twelve months in a year."),
    ("How many minutes are in an hour?", "There are sixty minutes in an hour."),
    ("What is the opposite of hot?", "The opposite of hot is cold."),
    ("What colour is a ripe lemon?", "A ripe lemon is yellow."),
    ("Which season comes after spring?", "Summer comes after spring."),
    ("Which season comes before winter?", "Autumn comes before winter."),
    ("At what temperature does water boil?", "At sea level, water boils at one hundred degrees Celsius."),
    ("At what temperature does water freeze?", "Water freezes at zero degrees Celsius."),
    ("How many joules are in one kilowatt hour?", "One kilowatt hour is three million six hundred thousand joules."),
    ("What is one watt?", "One watt is one joule per second."),
    ("What do bees make?", "Bees make honey and wax."),
    ("What does a baker do?", "A baker makes bread, rolls and cakes."),
    ("What is the largest planet that goes around the sun?", "The largest planet is Jupiter."),
    ("Which planet is closest to the sun?", "Mercury is the planet closest to the sun."),
    ("What do plants need to grow?", "Plants need light, water, air and good soil."),
    ("Why do we wear coats in winter?", "A coat holds warm air near the body, so we lose less heat."),
    ("What is a token?", "A token is a small piece of text, often a word or a part of a word."),
    ("What is latency?", "Latency is the time between a question and the answer to it."),
    ("What is throughput?", "Throughput is the amount of work that is done in each second."),
    ("What is a thermometer for?", "A thermometer measures the temperature."),
    ("What is the capital of France?", "The capital of France is Paris."),
    ("What is the capital of Italy?", "The capital of Italy is Rome."),
    ("What is the capital of Japan?", "The capital of Japan is Tokyo."),
    ("What is the capital of Spain?", "The capital of Spain is Madrid."),
    ("Who writes the words of a play?", "The words of a play are written by a playwright."),
    ("What is salt used for in the kitchen?", "Salt gives taste to food, and it also keeps food from spoiling."),
    ("Why do leaves fall in autumn?", "Trees drop their leaves in autumn to save water during the winter."),
    ("Why is the sky blue?", "The air scatters blue light more than red light, so the sky looks blue."),
    ("Why is the sea salty?", "Rivers carry salt from the rocks into the sea, and the salt stays there when the water evaporates."),
    ("Why does ice float?", "Ice takes up more room than the water it was made from, so it is lighter and floats."),
    ("Why do cats purr?", "Cats often purr when they are content, and sometimes to calm themselves."),
    ("How long does light need from the sun to the earth?", "Light needs about eight minutes from the sun to the earth."),
    ("How many legs does a spider have?", "A spider has eight legs."),
    ("How many legs does a bee have?", "A bee has six legs, like every insect."),
    ("What is the difference between weather and climate?", "Weather is what happens today, and climate is the average over many years."),
    ("What is a cache?", "A cache is a small and fast memory that keeps data which is likely to be needed again soon."),
    ("What is a fan for?", "A fan moves air, and moving air carries heat away."),
    ("What is a power cap?", "A power cap is a limit that a processor must not exceed, so it slows down when it would use more."),
    ("What is a prompt?", "A prompt is the text that a language model is given to continue or to answer."),
    ("What is a batch?", "A batch is a group of requests that are computed together to save time and energy."),
]

WORDS = {
    "water": ("eau", "Wasser", "agua", "acqua", "水", "水"),
    "tea": ("thé", "Tee", "té", "tè", "茶", "お茶"),
    "bread": ("pain", "Brot", "pan", "pane", "面包", "パン"),
    "rain": ("pluie", "Regen", "lluvia", "pioggia", "雨", "雨"),
    "house": ("maison", "Haus", "casa", "casa", "房子", "家"),
    "book": ("livre", "Buch", "libro", "libro", "书", "本"),
    "garden": ("jardin", "Garten", "jardín", "giardino", "花园", "庭"),
    "sun": ("soleil", "Sonne", "sol", "sole", "太阳", "太陽"),
    "cheese": ("fromage", "Käse", "queso", "formaggio", "奶酪", "チーズ"),
    "energy": ("énergie", "Energie", "energía", "energia", "能量", "エネルギー"),
    "time": ("temps", "Zeit", "tiempo", "tempo", "时间", "時間"),
    "friend": ("ami", "Freund", "amigo", "amico", "朋友", "友達"),
    "train": ("train", "Zug", "tren", "treno", "火车", "電車"),
    "street": ("rue", "Straße", "calle", "strada", "街道", "通り"),
    "window": ("fenêtre", "Fenster", "ventana", "finestra", "窗户", "窓"),
    "thank you": ("merci", "danke", "gracias", "grazie", "谢谢", "ありがとう"),
}
LANGUAGES = ("French", "German", "Spanish", "Italian", "Chinese", "Japanese")

# --- Dialogues ---------------------------------------------------------------------------------

DIALOGUES = [
    ["[Good morning.|Hello!] [Do you have fresh bread?|I would like some bread, please.]",
     "[Of course.|Yes, we do.] [The dark one is still warm.|It came out of the oven ten minutes ago.]",
     "[Then I will take one|Good, one of those], and [two rolls|four rolls], please.",
     "That is [four euros and fifty cents|five euros]. [Do you need a bag?|Would you like a bag?]",
     "No, thank you. [I have brought my own.|I have a basket.]",
     "[Have a nice day!|See you tomorrow!]"],
    ["[The computer is very loud today.|Why is the fan so loud?]",
     "[It is running a large model.|A test has been running since noon.] [The chip is at eighty degrees.|It uses three hundred watts.]",
     "[How long will it take?|When will it be finished?]",
     "[About an hour.|Another twenty minutes, I think.] [I want to know how much energy one answer costs.|We measure each run five times.]",
     "[And what have you found so far?|What does the meter say?]",
     "[Short answers are cheap, and long prompts cost more than I thought.|The first run was the slowest, as always.]",
     "[Write that down, please.|Then put it into the report, with the error.]"],
    ["[What will the weather be like tomorrow?|Will it rain tomorrow?]",
     "[They say that it will rain in the morning.|There will be rain until noon.] [In the afternoon the sun may come out.|Later it should be dry.]",
     "[Then let us go for a walk after lunch.|So we could go to the lake at three.]",
     "[Good idea.|I would like that.] [I will bring a cake.|Shall I bring the dog?]",
     "[Yes, please.|Of course!] [And take an umbrella, to be safe.|But put on your boots.]",
     "[I never trust a forecast without an umbrella.|My boots are standing by the door.]"],
    ["[Excuse me, where is the library?|Could you tell me the way to the library?]",
     "[Go straight on as far as the bridge|Walk down this street], and then turn [left|right].",
     "[Is it far?|How long does it take on foot?]",
     "[No, five minutes at most.|About ten minutes.] [You will see a red door.|It is the old house with the clock.]",
     "[Is it open today?|Do you know when it closes?]",
     "[It is open until six.|It closes at six, I believe.]",
     "[Thank you very much.|Thanks for your help!]"],
    ["[My tomatoes do not grow.|What is wrong with my tomatoes?] [The leaves are yellow.|They have brown leaves.]",
     "[How often do you water them?|Do you water the leaves?]",
     "[Every evening, from above.|Three times a day.]",
     "[That is too much.|That is the reason.] Water them [in the morning|twice a week], and only [at the roots|near the ground].",
     "[And should I give them something to eat?|Do they need anything else?]",
     "[A little compost, once a month.|Sun, patience and some compost.]",
     "[I will try it.|Thank you, I will do that.]"],
    ["[Can you explain what a joule is?|What is a joule, actually?]",
     "[It is a small amount of energy.|A joule is one watt for one second.] [If you lift an apple by one metre, you need about one joule.|A heart needs about one joule for each beat.]",
     "[And how many joules does the kettle use?|So what does a kettle need?]",
     "[A great many.|Much more than you think.] [Two thousand in every second.|It takes two thousand joules each second.]",
     "[Then tea is expensive!|That is more than I expected.]",
     "[Only if you boil too much water.|Not if you heat only one cup.]"],
    ["[Doctor, my robot refuses to work.|My robot has stopped.]",
     "[When did it last rest?|What did it do before that?]",
     "[It has been counting the stars for a week.|It washed dishes for ten hours.]",
     "[Then its battery is empty.|I see: its motor is too hot.] [Let it sleep for one night.|Give it some shade and a drop of oil.]",
     "[And tomorrow?|Is that all?]",
     "[Tomorrow ask it to count something smaller.|That is all. Even machines need a pause.]"],
    ["[Shall we cook together tonight?|What shall we eat tonight?]",
     "[Yes, gladly.|I would like a soup.] [We have carrots, leeks and potatoes.|There are still beans and two onions.]",
     "[I will cut the vegetables|Then I will wash the vegetables] if you [make the broth|peel the potatoes].",
     "[Agreed.|All right.] [Where is the large pot?|Where did you put the lid?]",
     "[Under the sink.|On the shelf above the stove.]",
     "[Here it is.|Found it.] [In half an hour we can eat.|It will be ready at seven.]"],
]

# --- Rewriting ---------------------------------------------------------------------------------

REWRITES = [
    ("Give me the report now.", "Could you please send me the report when you have a moment?"),
    ("Close the door.", "Would you mind closing the door, please?"),
    ("You are late again.", "I noticed that you arrived after the start; is everything all right?"),
    ("This number is wrong.", "I am not sure that this number is right; could we check it together?"),
    ("I want coffee.", "I would like a cup of coffee, please."),
    ("Turn the music down.", "Could you turn the music down a little, please?"),
    ("Wait.", "Could you please wait for a moment?"),
    ("Bring me the ladder.", "Would you please bring me the ladder?"),
    ("Your test is slow.", "I think that the test could be made a little faster."),
    ("Nobody read the manual.", "It may help if we all read the manual once more."),
]
TENSES = [
    ("She opens the window and looks at the garden.", "She opened the window and looked at the garden."),
    ("He bakes bread every Sunday.", "He baked bread every Sunday."),
    ("The machine runs all night and becomes warm.", "The machine ran all night and became warm."),
    ("They walk to the river and count the boats.", "They walked to the river and counted the boats."),
    ("I read the meter and write the number down.", "I read the meter and wrote the number down."),
    ("We cook a soup and eat it in the kitchen.", "We cooked a soup and ate it in the kitchen."),
    ("The fan turns faster when the chip is hot.", "The fan turned faster when the chip was hot."),
    ("The rain falls on the roof, and the children sleep.", "The rain fell on the roof, and the children slept."),
]
ACTIVE = [
    ("The bread was baked by Anna.", "Anna baked the bread."),
    ("The letter was written by an old friend.", "An old friend wrote the letter."),
    ("The energy is measured by a small sensor.", "A small sensor measures the energy."),
    ("The window was broken by the storm.", "The storm broke the window."),
    ("The garden is watered by the children.", "The children water the garden."),
    ("The results were checked by two people.", "Two people checked the results."),
    ("The boat was pulled to the shore by the wind.", "The wind pulled the boat to the shore."),
]

# --- Programs ----------------------------------------------------------------------------------

CODE = [
    ("computes the average of a list of numbers",
     "def average({v}):\n    total = 0\n    for x in {v}:\n        total = total + x\n    return total / len({v})"),
    ("finds the largest number in a list",
     "def largest({v}):\n    best = {v}[0]\n    for x in {v}:\n        if x > best:\n            best = x\n    return best"),
    ("counts the words of a text",
     "def count_words(text):\n    words = text.split()\n    return len(words)"),
    ("turns power and time into energy",
     "def energy(power, seconds):\n    joules = power * seconds\n    return joules"),
    ("adds up the energy of all samples",
     "def total_energy(samples, step):\n    total = 0\n    for power in samples:\n        total = total + power * step\n    return total"),
    ("reverses a list",
     "def reverse({v}):\n    result = []\n    for x in {v}:\n        result.insert(0, x)\n    return result"),
    ("checks whether a number is even",
     "def is_even(n):\n    if n % 2 == 0:\n        return True\n    return False"),
    ("prints the numbers from one to ten",
     "for n in range(1, 11):\n    print(n)"),
    ("converts degrees Celsius to Fahrenheit",
     "def to_fahrenheit(celsius):\n    return celsius * 9 / 5 + 32"),
    ("returns the sum of the first n numbers",
     "def sum_to(n):\n    total = 0\n    for k in range(1, n + 1):\n        total = total + k\n    return total"),
    ("turns a fan on when it is too warm",
     "function control(temperature):\n    if temperature > {k}:\n        turn the fan on\n    else:\n        turn the fan off"),
    ("repeats a measurement and keeps the results",
     "results = empty list\nrepeat {m} times:\n    start the meter\n    run the task\n    stop the meter\n    add the reading to results\nreturn the average of results"),
]
CODE_NOTES = [
    "[It goes through the list once|The loop visits each value once], so the time grows with the length of the list.",
    "[The function is short and easy to test.|It is simple, and a test for it is easy to write.]",
    "[An empty input should be handled before this is called.|Remember to check for an empty input first.]",
]

# fmt: on
# --- Kinds of documents ------------------------------------------------------------------------


def person(rng, other=None):
    """A name with its pronouns: (name, she/he, her/his, her/him)."""
    while True:
        if rng.random() < 0.5:
            who = (rng.choice(SHE), "she", "her", "her")
        else:
            who = (rng.choice(HE), "he", "his", "him")
        if other is None or other[0] != who[0]:
            return who


def gap(rng):
    """What stands between a request and its answer."""
    return rng.choice(["\n", "\n", "\n\n", " "])


def lead(rng, request):
    """Write a request, sometimes marked as a question."""
    if rng.random() < 0.2:
        return f"Question: {request}\nAnswer: "
    return request + gap(rng)


def sentences(rng, template_list, keep=0.85):
    return [expand(rng, s) for s in template_list if rng.random() < keep]


def explanation(rng):
    subject, questions, body, _ = rng.choice(TOPICS)
    text = " ".join(sentences(rng, body, 0.9))
    kind = rng.random()
    if kind < 0.5:
        return lead(rng, rng.choice(questions)) + text
    if kind < 0.75:
        request = expand(
            rng,
            "[Explain|Describe|Write a short paragraph about|Tell me something about|"
            "Write about|Explain in simple words] {x}.",
            {"x": subject},
        )
        return lead(rng, request) + text
    if kind < 0.85:
        return capital(subject.removeprefix("a ").removeprefix("an ")) + "\n\n" + text
    return text


def summary(rng):
    _, _, body, short = rng.choice(TOPICS)
    text = " ".join(sentences(rng, body, 0.9))
    request = rng.choice(
        [
            "Summarise this paragraph in one sentence:",
            "Summarise the following text:",
            "Give a short summary of this text:",
            "What is the main idea of this paragraph?",
            "Summarize this paragraph:",
        ]
    )
    end = rng.choice(["\n\nSummary: ", "\n\nIn one sentence: ", "\n\nSummary:\n", "\n\n"])
    return f"{request}\n\n{text}{end}{short}"


def story(rng):
    title, beats = rng.choice(STORIES)
    hero = person(rng)
    friend = person(rng, hero)
    slots = {
        "N": hero[0],
        "S": capital(hero[1]),
        "s": hero[1],
        "p": hero[2],
        "p_cap": capital(hero[2]),
        "o": hero[3],
        "F": friend[0],
        "T": capital(friend[1]),
        "t": friend[1],
        "t_p": friend[2],
        "o_friend": "everybody",
        "P": rng.choice(PLACES),
        "V": rng.choice(TOWNS),
    }
    parts = [expand(rng, beat, slots) for beat in beats]
    if rng.random() < 0.5:
        parts.insert(1, expand(rng, rng.choice(WEATHER)))
    if rng.random() < 0.3:
        cut = rng.randint(3, 5)
        text = " ".join(parts[:cut]) + "\n\n" + " ".join(parts[cut:])
    else:
        text = " ".join(parts)
    kind = rng.random()
    if kind < 0.35:
        request = expand(
            rng, "[Write|Tell me] a [short story|story|little story] about {x}.", {"x": title}
        )
        return lead(rng, request) + text
    if kind < 0.5:
        return capital(title) + "\n\n" + text
    if kind < 0.65:
        start = expand(
            rng,
            "[Once upon a time|A long time ago|Many years ago], {n} [lived|had a house] in {p}.",
            {"n": hero[0], "p": slots["P"]},
        )
        return start + " " + " ".join(parts[1:])
    return text


def instructions(rng):
    task, steps = rng.choice(TASKS)
    steps = [expand(rng, step) for step in steps]
    request = expand(
        rng,
        "[How do you {x}?|How can I {x}?|Explain how to {x}.|Write instructions: {x}.|"
        "Write down the steps to {x}.|Tell me how to {x}.|Give step by step instructions to {x}.]",
        {"x": task},
    )
    if rng.random() < 0.5:
        body = "\n".join(f"{n}. {step}" for n, step in enumerate(steps, 1))
        ending = rng.choice(["", "", "\nThat is all."])
        return request + rng.choice(["\n", "\n\n"]) + body + ending
    words = ["First, ", "Then ", "After that, ", "Next, ", "Then ", "Finally, "]
    text = " ".join(
        word + step[0].lower() + step[1:] for word, step in zip(words, steps, strict=True)
    )
    return lead(rng, request) + text


def bullet_list(rng):
    theme, items = rng.choice(LISTS)
    count = rng.randint(3, min(6, len(items)))
    chosen = rng.sample(items, count)
    number = ["three", "four", "five", "six"][count - 3]
    request = expand(
        rng,
        "[List {n} {x}.|Name {n} {x}.|Give me a list of {n} {x}.|Write a list of {n} {x}.|{c} {x}:]",
        {"n": number, "c": capital(number), "x": theme},
    )
    style = rng.random()
    if style < 0.4:
        body = "\n".join(f"{n}. {capital(item)}" for n, item in enumerate(chosen, 1))
    elif style < 0.75:
        body = "\n".join(f"- {item}" for item in chosen)
    else:
        body = capital(", ".join(chosen[:-1]) + " and " + chosen[-1])
        body += "" if body[-1] in ".?!" else "."
    closing = rng.choice(
        [
            "",
            "",
            "\n\nThere are more, but these are a good start.",
            "\n\nThe first of them is the most important one.",
        ]
    )
    return request + "\n" + body + closing


def facts(rng):
    chosen = rng.sample(FACTS, rng.randint(2, 6))
    style = rng.randrange(3)
    if style == 0:
        return "\n\n".join(f"Question: {q}\nAnswer: {a}" for q, a in chosen)
    if style == 1:
        return "\n\n".join(f"Q: {q}\nA: {a}" for q, a in chosen)
    q, a = chosen[0]
    subject = rng.choice(TOPICS)
    more = expand(
        rng,
        "[Would you like to know more?|Here is something else that is good to know.|"
        "There is more to say about such things.]",
    )
    return q + gap(rng) + a + " " + more + " " + " ".join(sentences(rng, subject[2], 0.9))


def dialogue(rng):
    first = person(rng)
    second = person(rng, first)
    lines = [expand(rng, line) for line in rng.choice(DIALOGUES)]
    names = (first[0], second[0])
    text = "\n".join(f"{names[i % 2]}: {line}" for i, line in enumerate(lines))
    kind = rng.random()
    if kind < 0.3:
        request = expand(
            rng,
            "[Write a short dialogue between {a} and {b}.|Continue the conversation between {a} and {b}.|"
            "{a} and {b} are talking.]",
            {"a": names[0], "b": names[1]},
        )
        return request + rng.choice(["\n", "\n\n"]) + text
    if kind < 0.5:
        said = []
        for i, line in enumerate(lines):
            verb = "asked" if line.rstrip().endswith("?") else "said"
            quoted = line[:-1] + "," if line.endswith(".") else line
            said.append(f'"{quoted}" {verb} {names[i % 2]}.')
        return " ".join(said)
    return text


def arithmetic(rng):
    name = person(rng)
    kind = rng.randrange(8)
    if kind == 0:
        power, seconds = rng.choice([5, 10, 20, 40, 50, 100, 200, 250, 300]), rng.randint(2, 12)
        question = expand(
            rng,
            "[A lamp|A fan|A processor|A machine|A small heater] uses {p} watts for {s} seconds. "
            "How much energy [does it use|is that]?",
            {"p": power, "s": seconds},
        )
        answer = f"Energy is power times time: {power} × {seconds} = {power * seconds}. So it uses {power * seconds} joules."
    elif kind == 1:
        a, b = rng.randint(2, 30), rng.randint(2, 30)
        thing = rng.choice(["apples", "plums", "eggs", "books", "tomatoes", "coins"])
        question = f"{name[0]} has {a} {thing} and gets {b} more. How many {thing} does {name[1]} have now?"
        answer = f"{a} + {b} = {a + b}. {name[0]} has {a + b} {thing} now."
    elif kind == 2:
        a = rng.randint(10, 40)
        b = rng.randint(1, a - 1)
        thing = rng.choice(["apples", "rolls", "seeds", "cups", "stamps"])
        question = (
            f"There are {a} {thing} in a box, and {name[0]} takes {b} of them. How many are left?"
        )
        answer = f"{a} - {b} = {a - b}. There are {a - b} {thing} left."
    elif kind == 3:
        a, b = rng.randint(2, 12), rng.randint(2, 12)
        question = rng.choice([f"What is {a} times {b}?", f"Compute {a} × {b}.", f"{a} * {b} = ?"])
        answer = f"{a} × {b} = {a * b}."
    elif kind == 4:
        tokens, rate = rng.choice([100, 200, 400, 600]), rng.choice([10, 20, 25, 50])
        question = (
            f"A model writes {rate} tokens per second. How long does it need for {tokens} tokens?"
        )
        answer = f"{tokens} / {rate} = {tokens // rate}. It needs {tokens // rate} seconds."
    elif kind == 5:
        total, idle, seconds = (
            rng.choice([200, 250, 300, 350]),
            rng.choice([50, 60, 80, 100]),
            rng.choice([2, 5, 10, 20]),
        )
        question = (
            f"A machine uses {total} watts under load and {idle} watts at rest. "
            f"How much energy does a task of {seconds} seconds add?"
        )
        answer = (
            f"The task adds {total} - {idle} = {total - idle} watts. In {seconds} seconds that is "
            f"{total - idle} × {seconds} = {(total - idle) * seconds} joules."
        )
    elif kind == 6:
        values = [rng.randint(1, 12) * 2 for _ in range(4)]
        text = ", ".join(map(str, values[:-1])) + f" and {values[-1]}"
        question = f"What is the average of {text}?"
        mean = sum(values) / 4
        mean = int(mean) if mean == int(mean) else mean
        answer = f"The sum is {sum(values)}, and {sum(values)} / 4 = {mean}. The average is {mean}."
    else:
        price, count = rng.randint(2, 9), rng.randint(2, 9)
        thing = rng.choice(["loaf", "ticket", "bulb", "basket"])
        plural = {"loaf": "loaves"}.get(thing, thing + "s")
        question = f"One {thing} costs {price} euros. How much do {count} {plural} cost?"
        answer = f"{price} × {count} = {price * count}. They cost {price * count} euros."
    return question, answer


def sums(rng):
    pairs = [arithmetic(rng) for _ in range(rng.randint(1, 4))]
    if len(pairs) == 1:
        return pairs[0][0] + gap(rng) + pairs[0][1]
    mark = rng.choice([("Question: ", "Answer: "), ("Q: ", "A: "), ("", "")])
    return "\n\n".join(f"{mark[0]}{q}\n{mark[1]}{a}" for q, a in pairs)


def rewriting(rng):
    which = rng.randrange(4)
    if which == 0:
        request, pairs = "Rewrite this sentence politely:", REWRITES
    elif which == 1:
        request, pairs = (
            rng.choice(
                ["Rewrite this sentence in the past tense:", "Put this into the past tense:"]
            ),
            TENSES,
        )
    elif which == 2:
        request, pairs = (
            rng.choice(
                ["Rewrite this sentence in the active voice:", "Make this sentence active:"]
            ),
            ACTIVE,
        )
    else:
        return translation(rng)
    chosen = rng.sample(pairs, rng.randint(1, 3))
    parts = [
        f'{request} "{a}"\n"{b}"' if rng.random() < 0.5 else f"{request} {a}\n{b}"
        for a, b in chosen
    ]
    return "\n\n".join(parts)


def translation(rng):
    word = rng.choice(list(WORDS))
    index = rng.randrange(6)
    if rng.random() < 0.5:
        language = LANGUAGES[index]
        request = expand(
            rng,
            '[How do you say "{w}" in {l}?|What is the {l} word for "{w}"?|Translate "{w}" into {l}.]',
            {"w": word, "l": language},
        )
        return request + gap(rng) + f'The {language} word for "{word}" is "{WORDS[word][index]}".'
    lines = "\n".join(
        f"{language}: {text}" for language, text in zip(LANGUAGES, WORDS[word], strict=True)
    )
    return f'How do people say "{word}" in other languages?\n{lines}'


def code(rng):
    purpose, body = rng.choice(CODE)
    slots = {
        "v": rng.choice(["values", "numbers", "items", "readings"]),
        "k": rng.choice([60, 70, 75, 80]),
        "m": rng.choice(["three", "five", "ten"]),
    }
    for key, value in slots.items():
        body = body.replace("{" + key + "}", str(value))
    kind = "pseudo-code" if body.startswith(("function", "results")) else "a function"
    request = expand(
        rng,
        "[Write {k} that {x}.|Write a short program that {x}.|Show me {k} that {x}.|Write pseudo-code that {x}.]",
        {"k": kind, "x": purpose},
    )
    note = "\n\n" + " ".join(sentences(rng, CODE_NOTES, 0.6)) if rng.random() < 0.6 else ""
    if rng.random() < 0.4:
        body = "```\n" + body + "\n```"
    return (request + "\n" + rng.choice(["", "\n"]) + body + note).rstrip()


def letter(rng):
    sender = person(rng)
    receiver = person(rng, sender)
    slots = {"a": receiver[0], "b": sender[0], "P": rng.choice(PLACES)}
    beats = [
        "Dear {a},",
        "\n\n",
        "[thank you for your letter|thank you for the parcel|how are you? It has been a long time since we last met]. ",
        "I am writing to you from {P}, where [I have rented a room|I am staying for two weeks]. ",
        "[The weather is mild|It has rained for three days|It is cold in the morning], and [I spend much time in the garden|I read a lot|I walk along the water every day]. ",
        "[Yesterday|On Sunday] I [baked bread for the first time|repaired the old clock in the kitchen|counted forty boats in the harbour], and [it went well|I thought of you|you would have laughed]. ",
        "[I have also measured how much energy my small heater uses: almost two kilowatt hours a day!|There is a meter in the hall, and I read it every evening, as you taught me.|The people here are kind and never in a hurry.] ",
        "\n\n[Please write soon, and tell me about your work.|I hope that you can visit me in summer.|Please give my regards to the whole family.]",
        "\n\n[Yours,|With best wishes,|See you soon,]\n{b}",
    ]
    text = "".join(_keep_newlines(rng, beat, slots) for beat in beats).replace(" \n", "\n")
    if rng.random() < 0.4:
        request = expand(
            rng,
            "[Write a short letter to a friend.|Write a letter from {b} to {a}.|Write a friendly letter.]",
            slots,
        )
        return request + "\n\n" + text
    return text


def _keep_newlines(rng, template, slots):
    """Like expand, but leave spaces and newlines at both ends as they are."""
    body = template.strip()
    if not body:
        return template
    at = template.index(body)
    return template[:at] + expand(rng, body, slots) + template[at + len(body) :]


def report(rng):
    """A weather report or a measuring report."""
    if rng.random() < 0.5:
        low, wind = rng.randint(-5, 14), rng.choice(["west", "north", "south", "east"])
        slots = {"lo": low, "hi": low + rng.randint(4, 12), "w": wind}
        day = rng.choice(
            ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
        )
        text = expand(
            rng,
            "[In the morning|At first] there will be [fog in the valleys|some clouds|light rain|frost on the ground]. "
            "[Later|By noon] [the sun comes out|it becomes dry|the clouds break up|it clears from the {w}]. "
            "[Temperatures rise from {lo} to {hi} degrees.|The temperature lies between {lo} and {hi} degrees.] "
            "The wind [blows gently|is fresh|is light] from the {w}. "
            "[At night it remains dry.|In the evening showers are possible.|The night will be clear and cold.] "
            "[Those who go out should take a coat.|It is a good day for the garden.|Drive carefully.]",
            slots,
        )
        return f"Weather report for {day}\n\n{text}"
    idle = rng.choice([20, 30, 40, 50, 60, 80])
    load = idle + rng.choice([50, 100, 150, 200, 250])
    seconds = rng.choice([10, 20, 30, 40])
    slots = {
        "i": idle,
        "l": load,
        "s": seconds,
        "e": (load - idle) * seconds,
        "n": rng.choice([3, 5, 8, 10]),
        "r": rng.choice([1, 2, 3, 4]),
    }
    text = expand(
        rng,
        "We measured the energy of [a small language model|a language model|one program] on [one machine|a quiet machine]. "
        "[At rest|When idle], the machine used {i} watts; [under load|while it worked], it used {l} watts. "
        "Each run took {s} seconds and was repeated {n} times[ after a warm-up|]. "
        "[So each run added about {e} joules|The model therefore added {e} joules in each run], with an error of {r} percent. "
        "[The first run was slower and was not counted.|Prefill took a small part of the time, and decode took the rest.] "
        "[We conclude that a shorter prompt would save energy.|The next step is to lower the power limit and to measure again.|"
        "Another sensor gave the same result, which is a good sign.]",
        slots,
    )
    return "Report\n\n" + text


def comparison(rng):
    pairs = [
        (
            "a train",
            "a car",
            "A train [needs less energy for each passenger|carries many people at once], but it goes only [where there are rails|at fixed times].",
            "A car [goes from door to door|is free to go anywhere], but it [needs more energy|must be parked], and it [often carries only one person|stands still most of the day].",
        ),
        (
            "tea",
            "coffee",
            "Tea is [milder|lighter], and it can be drunk [all day|in large cups].",
            "Coffee is [stronger|darker], and a small cup [is enough|wakes most people].",
        ),
        (
            "a small model",
            "a large model",
            "A small model is [fast and cheap|quick], and it [fits on a laptop|needs little memory], but it [makes more mistakes|knows less].",
            "A large model [writes better text|knows more], but every token [costs more energy|takes longer].",
        ),
        (
            "a gas stove",
            "an electric stove",
            "A gas stove [reacts at once|is easy to control], but much of the heat [passes beside the pot|warms the kitchen].",
            "An electric stove [loses less heat|is clean], but an old one [needs some time to become hot|stays hot for a while].",
        ),
        (
            "summer",
            "winter",
            "In summer the days are long, and people [sit outside|work in the garden].",
            "In winter it is dark early, and people [stay inside|light candles], read and [cook soups|tell stories].",
        ),
        (
            "a paper book",
            "an electronic book",
            "A paper book needs no battery, and it can be [lent to a friend|read in the sun].",
            "An electronic book [holds a whole library|is light], and its letters can be made [larger|as large as you like].",
        ),
    ]
    one, two, first, second = rng.choice(pairs)
    request = expand(
        rng,
        "[Compare {a} and {b}.|What is the difference between {a} and {b}?|Which is better, {a} or {b}?]",
        {"a": one, "b": two},
    )
    ending = expand(
        rng,
        "[Which of them is better depends on what you need.|Both have their place.|It is best to try both and to compare.]",
    )
    return lead(rng, request) + " ".join([expand(rng, first), expand(rng, second), ending])


def diary(rng):
    day = rng.choice(["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"])
    text = expand(
        rng,
        "[Today|This morning] I [woke up early|slept too long], because [the birds were loud|I had forgotten the alarm|the sun came in]. "
        "[For breakfast there was bread with honey ☕.|I made tea and toast 🍞.|There was only cold coffee left.] "
        "[Then I went to work by bicycle 🚲|Then I took the tram to work|I stayed at home], and [it rained the whole way 🌧|the streets were still empty|on the way I met an old friend]. "
        "[At noon|After lunch] we [tested the new sensor|measured the old refrigerator|talked about the results], and it [worked at once 🎉|showed twice the power we had expected|did not work, until we found the loose wire]. "
        "[In the evening I watered the garden 🌱.|In the evening I cooked a soup for everybody.|Later I read a few pages by the window.] "
        "[It was a good day.|Tomorrow I want to begin earlier.|Now I am tired, and the lamp goes out.]",
    )
    return f"Dear diary, it is {day}. {text}" if rng.random() < 0.5 else f"{day}\n\n{text}"


KINDS = [
    (explanation, 24),
    (story, 22),
    (instructions, 8),
    (summary, 8),
    (bullet_list, 6),
    (facts, 5),
    (dialogue, 7),
    (sums, 7),
    (rewriting, 4),
    (code, 4),
    (letter, 2),
    (report, 4),
    (comparison, 3),
    (diary, 2),
]


OPENERS = [
    "I have a question.", "Please help me with this.", "You are a helpful assistant.",
    "Read this carefully.", "Here is a task for you.", "Answer in plain words.",
    "This is for a friend who is ten years old.", "Be brief.", "Take your time.",
]
LINKS = [
    "Here is another one.", "And now something else.", "That leads to the next question.",
    "There is more to say.", "After that, one more thing.", "Now a different matter.",
    "The next page is about something else.", "To rest a little, here is something different.",
]


def piece(rng):
    """One text of a random kind."""
    kinds, weights = zip(*KINDS, strict=True)
    return rng.choices(kinds, weights)[0](rng)


def document(rng):
    """One document: a piece, often followed by one to three others."""
    text = piece(rng)
    if rng.random() < 0.12:
        text = rng.choice(OPENERS) + rng.choice([" ", "\n", "\n\n"]) + text
    more = rng.choice([0, 0, 1, 1, 1, 2, 2, 3])
    for _ in range(more):
        text += "\n\n" + (rng.choice(LINKS) + "\n\n" if rng.random() < 0.4 else "") + piece(rng)
    return text
