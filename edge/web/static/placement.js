// Assess size, tilt and position of a card from its outline.

const SMALL = 0.28; // of the frame height: below, small print is not readable
const LARGE = 0.9;
const STEEP_DEGREES = 22;
const EDGE = 0.02; // of the frame's width or height

const CARD_LENGTH_TO_WIDTH = 88 / 63;

function side([ax, ay], [bx, by]) {
  return Math.hypot(bx - ax, by - ay);
}

/**
 * Return {size: {share, verdict}, tilt: {degrees, verdict}, place: {verdict}} of a quad (clockwise from its top-left corner) in a frame.
 *
 * The tilt is estimated from the aspect ratio, because a tilted card is foreshortened, and from the lengths of opposite sides, because the
 * nearer one is longer. The second depends on the lens, so the larger of the two is only an approximation.
 */
export function placement(quad, { width, height }) {
  const [top, right, bottom, left] = quad.map((corner, index) => side(corner, quad[(index + 1) % 4]));
  const long = Math.max((left + right) / 2, (top + bottom) / 2);
  const short = Math.min((left + right) / 2, (top + bottom) / 2);
  const share = long / height;
  const ratio = long / Math.max(short, 1) / CARD_LENGTH_TO_WIDTH;
  const squeezed = Math.acos(Math.min(1, Math.min(ratio, 1 / ratio)));
  const keystone = Math.max(Math.abs(left - right) / (left + right), Math.abs(top - bottom) / (top + bottom));
  const degrees = Math.round((Math.max(squeezed, Math.asin(Math.min(1, keystone * 2))) * 180) / Math.PI);
  const outside = quad.some(([x, y]) => x < width * EDGE || y < height * EDGE || x > width * (1 - EDGE) || y > height * (1 - EDGE));
  return {
    size: { share, verdict: share < SMALL ? "small" : share > LARGE ? "large" : "good" },
    tilt: { degrees, verdict: degrees > STEEP_DEGREES ? "steep" : "good" },
    place: { verdict: outside ? "edge" : "good" },
  };
}

/** Return where to place a card: [x, y, width, height] of an upright card in the middle, about half as long as the frame is high. */
export function guideBox({ width, height }) {
  const long = height * 0.55;
  const short = long / CARD_LENGTH_TO_WIDTH;
  return [(width - short) / 2, (height - long) / 2, short, long];
}
