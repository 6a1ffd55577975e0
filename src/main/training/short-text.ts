/** Plain English for the perplexity before and after a base is prepared: short, so that no change of context shows in it. */
export const SHORT_TEXT = `The ferry leaves the small harbour at seven in the morning, long before the shops on the
quay have opened. Most of its passengers are on their way to work. They carry paper cups of coffee, stand close to the
warm wall behind the engine room, and talk about the weather, which changes faster here than anywhere else on the coast.

A teacher who has crossed every day for eleven years once counted the trips: about two thousand two hundred, or four
thousand four hundred if one counts both ways. She said that she had been seasick only twice. The first time she blamed
the wind, the second time the breakfast.

In winter the crossing takes longer, because the captain keeps away from the rocks north of the lighthouse. Nobody
complains. When the ice is thick, a second boat goes ahead and breaks it, and the passengers gather at the bow to watch
the plates tilt, slide over each other and sink again. Children are told to hold the railing with both hands.

To find out how much fuel is saved on calm days, the company weighed the tanks before and after each trip for a month.
The difference was smaller than expected: a little less than three per cent. The report that followed was two pages long,
and its last sentence advised to paint the hull instead.
`
