// Sound at a model's rate: from a file, decoded by the browser, or from the microphone, as it comes.
// @ts-check

import { Resampler } from "./resample.js";
import { Unreadable } from "../midi.js";

/**
 * The samples of a sound file, mono, at `rate`. Raises Unreadable.
 * @param {ArrayBuffer} buffer
 * @param {number} rate
 */
export async function decode(buffer, rate) {
  const context = new OfflineAudioContext(1, 1, rate);
  let sound;
  try {
    sound = await context.decodeAudioData(buffer);
  } catch {
    throw new Unreadable("the browser cannot read this as sound");
  }
  const made = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel++) {
    sound.getChannelData(channel).forEach((x, i) => (made[i] += x / sound.numberOfChannels));
  }
  if (!made.length) throw new Unreadable("this file holds no sound");
  return made;
}

/**
 * Listen to the microphone; `onSamples` hears pieces at `rate`. Gives the function that stops. Raises Unreadable.
 * @param {number} rate
 * @param {(piece: Float32Array) => void} onSamples
 */
export async function microphone(rate, onSamples) {
  if (!navigator.mediaDevices) throw new Unreadable("browsers give the microphone to pages over https, or on this machine, only");
  let media;
  try {
    const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    media = await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    throw new Unreadable(error instanceof DOMException && error.name === "NotFoundError" ? "there is no microphone" : "the microphone was not allowed");
  }
  const context = new AudioContext();
  await context.audioWorklet.addModule(new URL("./worklet.js", import.meta.url));
  const resampler = new Resampler(context.sampleRate, rate);
  const tap = new AudioWorkletNode(context, "tap", { numberOfOutputs: 0 });
  tap.port.onmessage = ({ data }) => onSamples(resampler.push(data));
  context.createMediaStreamSource(media).connect(tap);
  return () => {
    tap.port.onmessage = null;
    for (const track of media.getTracks()) track.stop();
    context.close();
  };
}
