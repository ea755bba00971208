// A page that was opened as a file may not start workers, and the search is one: there it runs in a hidden frame.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(address) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      document.body.append(this.frame)
      const inside = this.frame.contentWindow
      inside.postMessage = data => queueMicrotask(() => this.tell(this, MessageEvent, data))
      this.ready = new Promise((resolve, reject) => {
        const script = inside.document.createElement("script")
        script.src = address
        script.onload = () => resolve(inside)
        script.onerror = () => reject(new Error(`cannot load ${address}`))
        inside.document.body.append(script)
      })
      this.ready.catch(error => this.onerror?.(error))
    }

    postMessage(data) {
      this.ready.then(inside => this.tell(inside, inside.MessageEvent, data), () => {})
    }

    tell(target, Message, data) {
      const message = new Message("message", { data })
      target.dispatchEvent(message)
      if (target === this) this.onmessage?.(message)
    }

    terminate() {
      this.frame.remove()
    }
  }
}
