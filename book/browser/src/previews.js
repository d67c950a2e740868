// Points at a reference to each equation and at each claim's mark: a preview must open, show the equation or say what
// checks the claim, and stay in the window.
((width) => {
    const faults = [];
    const references = new Map([...document.querySelectorAll("a.eqref")].map((link) => [link.dataset.eq, link]));
    const claims = [...document.querySelectorAll("a.claim")];
    for (const link of [...references.values(), ...claims]) {
        const name = link.textContent || `claim ${link.id}`;
        link.dispatchEvent(new MouseEvent("mouseenter"));
        const preview = document.querySelector(".preview");
        const box = preview?.getBoundingClientRect();
        const said = claims.includes(link) ? preview?.textContent : preview?.querySelector(".katex");
        if (!said || box.height < 10) {
            faults.push(`the reference ${name} shows no preview; look at theme/pages.js`);
        } else if (box.left < 0 || box.right > width + 1) {
            faults.push(`the preview of ${name} reaches beyond the window; look at theme/pages.js`);
        }
        link.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
        if (document.querySelector(".preview")) {
            faults.push(`the preview of ${name} stays open after Escape; look at theme/pages.js`);
            break;
        }
    }
    return faults;
})
