// @ts-check
/** A picture or a file that is here as a whole: shown if that is safe, and offered for saving. */

import { element, sizeText } from "./dom.js";
import { OCTETS, isPicture, isPictureType, safeName } from "./media.js";

// A small file can unfold into gigabytes: a picture is shown only once its size is known.
const MOST_PIXELS = 50_000_000;

/**
 * @param {string} sender
 * @param {string} name
 * @param {string} mime as the sender says
 * @param {Uint8Array<ArrayBuffer>} content
 * @param {() => void} onSize called when a picture takes its room
 * @returns {{shown: HTMLElement, url: string}} `url` is to be revoked when it is not shown any more
 */
export function fileBody(sender, name, mime, content, onSize) {
  const picture = isPicture(mime, content);
  // A blob of an inert type: whatever the content is, the browser will not run it here.
  const url = URL.createObjectURL(new Blob([content], { type: picture ? mime : OCTETS }));
  const safe = safeName(name);
  const save = element("a", { class: "button", href: url, download: safe }, `Save ${safe}`);
  const shown = element("div", { class: "file" });
  if (picture) {
    const place = element("p", { class: "detail" });
    const image = element("img", { src: url, alt: `Picture from ${sender}: ${safe}` });
    image.addEventListener("load", () => {
      if (image.naturalWidth * image.naturalHeight <= MOST_PIXELS) place.replaceWith(image);
      else place.textContent = "This picture is too large to be shown.";
      onSize();
    });
    image.addEventListener("error", () => {
      place.textContent = "This picture cannot be shown.";
    });
    shown.append(place);
  } else if (isPictureType(mime)) {
    shown.append(
      element("p", { class: "detail bad" }, "It says that it is a picture, and is none."),
    );
  }
  shown.append(element("p", { class: "detail" }, save, ` ${sizeText(content.length)}`));
  return { shown, url };
}
