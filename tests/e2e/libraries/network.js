// The network between one client and the server: a fetch that can be cut off, held back, and that loses answers.

export class Network {
  online = true;
  /** Every request that was made: `{ method, path, status }`; status 0 had no answer. */
  requests = [];
  /** How many have no answer yet. */
  underway = 0;
  #gates = [];
  #cut = new AbortController();

  /** Cuts it off, requests under way included; or lets everything through again. */
  set(online) {
    this.online = online;
    if (online) this.#cut = new AbortController();
    else this.#cut.abort(new TypeError('fetch failed: the network is cut'));
  }

  /**
   * Holds back the next request of a method, or with `answer` what the server answers it. `reached` resolves when that is
   * there; `pass()` lets it through, `lose()` lets the request through but not its answer, `fail()` neither.
   */
  hold(method, { answer = false } = {}) {
    const gate = { method, answer };
    gate.reached = new Promise((resolve) => { gate.reach = resolve; });
    gate.decided = new Promise((resolve) => {
      gate.pass = () => resolve('pass');
      gate.lose = () => resolve('lose');
      gate.fail = () => resolve('fail');
    });
    this.#gates.push(gate);
    return gate;
  }

  fetch = async (url, init) => {
    this.underway++;
    try {
      return await this.#fetch(url, init);
    } finally {
      this.underway--;
    }
  };

  async #fetch(url, init = {}) {
    // Redux Toolkit Query calls fetch with a Request.
    const method = init.method ?? url.method ?? 'GET';
    const request = { method, path: new URL(url.url ?? url).pathname, status: 0 };
    this.requests.push(request);
    const gate = this.#gates.find((one) => one.method === method);
    if (gate) this.#gates.splice(this.#gates.indexOf(gate), 1);
    const wait = () => {
      gate.reach();
      return gate.decided;
    };
    const fate = gate && !gate.answer ? await wait() : 'pass';
    if (!this.online || fate === 'fail') throw new TypeError('fetch failed: the network is cut');
    const signal = init.signal ?? url.signal;
    const answer = await fetch(url, { ...init, signal: signal ? AbortSignal.any([signal, this.#cut.signal]) : this.#cut.signal });
    if (fate === 'lose') throw new TypeError('fetch failed: the answer is lost');
    if (gate?.answer && (await wait()) !== 'pass') throw new TypeError('fetch failed: the answer is lost');
    request.status = answer.status;
    return answer;
  }
}
