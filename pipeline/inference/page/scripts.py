"""What moves on the page: scripts without a library, each of one `gr.HTML`.

``element`` is that of the component, `watch` tells when Gradio shows another value in it, `server`
has the functions that it was given.
"""

# Says the headline of a new answer to who does not see it.
_TELL = """
const said = document.createElement('div');
said.className = 'ser-said';
said.setAttribute('role', 'status');
document.body.append(said);
const tell = () => {
  const text = element.querySelector('[data-said]')?.dataset.said ?? '';
  if (said.textContent !== text) said.textContent = text;
};
"""

# Plays a segment, and lets a line, a row and a point follow what is played.
ANSWER = (
    _TELL
    + """
watch('value', () => {
  tell();
  // On a narrow screen it is below what was asked.
  if (element.getBoundingClientRect().top > innerHeight) element.scrollIntoView();
});

let stop = null;
const play = (from, upto) => {
  const audio = element.querySelector('audio');
  if (!audio) return;
  stop = upto;
  audio.currentTime = from;
  audio.play();
};
element.addEventListener('click', (event) => {
  const part = event.target.closest('[data-start]');
  const wave = event.target.closest('.ser-wave');
  const audio = element.querySelector('audio');
  if (part) play(+part.dataset.start, +part.dataset.end);
  else if (wave && audio) {
    const box = wave.getBoundingClientRect();
    play((event.clientX - box.left) / box.width * audio.duration, null);
  }
});

const show = (audio) => {
  const at = audio.currentTime;
  const head = element.querySelector('.ser-head');
  if (head) {
    head.hidden = false;
    head.style.left = `${100 * at / (audio.duration || 1)}%`;
  }
  const point = element.querySelector('.ser-point');
  for (const row of element.querySelectorAll('tr[data-start]')) {
    const here = +row.dataset.start <= at && at < +row.dataset.end;
    if (here) row.setAttribute('aria-current', 'true');
    else row.removeAttribute('aria-current');
    if (here && point && row.dataset.x) {
      point.style.cx = `${row.dataset.x}px`;
      point.style.cy = `${row.dataset.y}px`;
    }
  }
};
const follow = (audio) => {
  if (stop !== null && audio.currentTime >= stop) {
    audio.pause();
    stop = null;
  }
  show(audio);
  if (!audio.paused) requestAnimationFrame(() => follow(audio));
};
// Events of media do not bubble.
element.addEventListener('play', (event) => follow(event.target), true);
element.addEventListener('ended', (event) => {
  stop = null;
  const point = element.querySelector('.ser-point');
  if (point) {
    point.style.cx = `${point.dataset.x}px`;
    point.style.cy = `${point.dataset.y}px`;
  }
}, true);
"""
)

# Sends a microphone's samples piece by piece, each once the one before it is answered.
LIVE = (
    _TELL
    + """
const button = element.querySelector('button');
const state = element.querySelector('.ser-state');
const shown = element.querySelector('.ser-shown');
const TAP = `registerProcessor('ser-tap', class extends AudioWorkletProcessor {
  process([[channel]]) { if (channel) this.port.postMessage(channel.slice()); return true; }
});`;
const PIECE_S = 0.5;
let run = null;

const pcm = (blocks) => {
  const samples = new Int16Array(blocks.reduce((sum, block) => sum + block.length, 0));
  let at = 0;
  for (const block of blocks)
    for (const one of block) samples[at++] = Math.max(-1, Math.min(1, one)) * 32767;
  let text = '';
  for (const byte of new Uint8Array(samples.buffer)) text += String.fromCharCode(byte);
  return btoa(text);
};
const show = (html) => {
  if (!html) return;
  shown.innerHTML = html;
  tell();
};
const say = (text) => { state.textContent = text; };

const send = async (mine) => {
  if (mine.sending) return;
  mine.sending = true;
  const rate_hz = mine.context.sampleRate;
  const hear = async (blocks) =>
    show(await server.hear({ stream: mine.id, rate_hz, pcm: pcm(blocks) }));
  try {
    while (mine.held >= PIECE_S * rate_hz || (mine.over && mine.held)) {
      const blocks = mine.blocks;
      mine.blocks = [];
      mine.held = 0;
      await hear(blocks);
      if (shown.querySelector('.ser-problem')) end(mine);
    }
    if (mine.over && !mine.told) {
      mine.told = true;
      await hear([]);
      say('Stopped.');
    }
  } catch (error) {
    end(mine);
    say('The page does not answer any more, load it again.');
  }
  mine.sending = false;
};

const begin = async () => {
  if (!navigator.mediaDevices) {
    say('A browser opens a microphone for https and for this machine alone.');
    return;
  }
  // As it is: a browser's gain control takes away what tells arousal.
  const audio = {
    echoCancellation: false, noiseSuppression: false, autoGainControl: false, channelCount: 1,
  };
  let media;
  try {
    media = await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    say('No microphone: allow it for this page, or plug one in.');
    return;
  }
  const context = new AudioContext();
  const module = URL.createObjectURL(new Blob([TAP], { type: 'text/javascript' }));
  await context.audioWorklet.addModule(module);
  URL.revokeObjectURL(module);
  const id = Array.from(crypto.getRandomValues(new Uint8Array(16)),
    (byte) => byte.toString(16).padStart(2, '0')).join('');
  const mine = { id, context, media, blocks: [], held: 0, sending: false, over: false };
  const tap = new AudioWorkletNode(context, 'ser-tap', { numberOfOutputs: 0 });
  tap.port.onmessage = ({ data }) => {
    if (mine.over) return;
    mine.blocks.push(data);
    mine.held += data.length;
    send(mine);
  };
  context.createMediaStreamSource(media).connect(tap);
  shown.replaceChildren();
  run = mine;
  button.setAttribute('aria-pressed', 'true');
  button.textContent = 'Stop listening';
  say('Listening.');
};

const end = (mine) => {
  if (mine.over) return;
  mine.over = true;
  mine.media.getTracks().forEach((track) => track.stop());
  mine.context.suspend();
  run = null;
  button.setAttribute('aria-pressed', 'false');
  button.textContent = 'Listen to the microphone';
  say('Stopping.');
  send(mine);
};

button.addEventListener('click', async () => {
  button.disabled = true;
  if (run) end(run);
  else await begin();
  button.disabled = false;
});
"""
)
