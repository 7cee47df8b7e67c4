// @ts-check
/**
 * Safety words: a room key as eight words that two people read to each other. If somebody on the
 * way gave them different keys, the words differ. They tell nothing of the key.
 */

const DOMAIN = "twisted-relay safety words v1";
const COUNT = 8; // words; 64 bits of the digest

const LIST = `
acorn admiral advice agent airport alarm alpine amber anchor animal ankle apron artist
athlete atlas attic autumn badge balcony bamboo banana banjo barrel basket beaver bedroom
bicycle biscuit bishop blossom bottle bronze brother bubble buffalo butter cabbage cabin
cactus camel canyon captain carpet castle cement chapter cherry chicken circus citizen
climate clock cobra coffee compass copper cottage cousin cradle crystal culture cushion
daisy dancer decade desert diamond doctor dolphin domino donkey dragon drawer duchess eagle
earth echo eclipse elbow embassy emerald empire engine escape evening fabric factory family
feather fiction finger flute forest fossil freedom fridge funnel galaxy gallery garlic
gazelle giraffe glacier gorilla granite guitar gymnast hamster harbor harvest helmet hero
hobby holiday horizon husband iceberg igloo insect island ivory jaguar jasmine jelly jewel
journey jungle kernel ketchup kingdom kitchen kiwi knight ladder ladybug lantern legend
lemon leopard lettuce library lizard lobster locker machine magnet marble meadow medal
melody mercury mineral mirror morning mosaic muffin museum mustard napkin nation nephew
network nickel noodle novel nurse ocean octopus office olive onion opera orange orbit
orchard ostrich oxygen paddle palace panther parrot peanut pencil penguin piano picnic
pigeon pillow poem polar potato pumpkin puzzle pyramid queen quilt rabbit radar railway
rainbow recipe reptile rescue rhubarb ribbon river robot rubber runway safari salad salmon
sausage scarf science season shelter sister spider spinach stadium statue sugar summer
sunrise temple tennis thermos thunder topaz tractor trolley trumpet tulip turtle tuxedo
uniform vacuum vanilla vessel village vinegar violin volcano voyage waffle walnut wedding
whisper window wolf wonder yeast yogurt zigzag zombie
`;

/** The 256 words, the same and in the same order as in twisted_relay/client/words.py. */
export const WORDS = LIST.trim().split(/\s+/);

/**
 * @param {Uint8Array} key
 * @returns {Promise<string[]>} the eight words of a room key
 */
export async function safetyWords(key) {
  const domain = new TextEncoder().encode(DOMAIN);
  const bound = new Uint8Array(domain.length + key.length);
  bound.set(domain);
  bound.set(key, domain.length);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bound));
  return Array.from(digest.subarray(0, COUNT), (byte) => WORDS[byte]);
}
