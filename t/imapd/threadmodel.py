"""SORT and THREAD (RFC 5256) as plainly as they can be written: what the server is compared with. A row is a message: DATE, SUBJECT (what makes two of them the
same), id, refs, reply; its number is its place."""
import re
import unicodedata


class Node:
    def __init__(self, row=None, seq=0):
        self.row, self.seq, self.parent, self.children = row, seq, None, []

    def key(self):
        """Date, then number; of a node that stands for messages that are not here: its first child's."""
        return (self.row["DATE"], self.seq) if self.row else min(n.key() for n in self.children)

    def is_above(self, other):
        while other and other is not self:
            other = other.parent
        return other is self

    def adopt(self, child):
        if child.parent:
            child.parent.children.remove(child)
        child.parent = self
        self.children.append(child)

    def facts(self):
        return self.row or min(self.children, key=Node.key).row

    def is_reply(self):
        return bool(self.row and self.row["reply"])

    def text(self):
        below = sorted(self.children, key=Node.key)
        head = str(self.seq) if self.row else ""
        if len(below) == 1:
            return head + " " + below[0].text()
        return head + (" " if head and below else "") + "".join("(%s)" % n.text() for n in below)


def pruned(node):
    """RFC 5256 section 3, REFERENCES, step 3: what takes the node's place among its siblings."""
    below = [n for child in list(node.children) for n in pruned(child)]
    node.children = below
    for n in below:
        n.parent = node
    if node.row or (node.parent is None and len(below) > 1):
        return [node]
    for n in below:
        n.parent = node.parent
    return below


def linked(rows):
    """REFERENCES up to its step 3: the roots."""
    by_id, every = {}, []

    def node_of(name):
        if name not in by_id:
            by_id[name] = Node()
            every.append(by_id[name])
        return by_id[name]
    for seq, row in enumerate(rows, 1):     # 1: link
        node = node_of(row["id"])
        if node.row:
            node = Node()
            every.append(node)
        node.row, node.seq, last = row, seq, None
        for name in row["refs"]:
            ref = node_of(name)
            if last and not ref.parent and not ref.is_above(last):
                last.adopt(ref)
            last = ref
        if node.parent:
            node.parent.children.remove(node)
            node.parent = None
        if last and not node.is_above(last):
            last.adopt(node)
    roots = [n for root in [n for n in every if n.parent is None] for n in pruned(root)]      # 2, 3
    for n in roots:
        n.parent = None
    return roots


def references(rows):
    """RFC 5256's REFERENCES, step by step and without any haste: the response's text."""
    roots = linked(rows)
    roots.sort(key=Node.key)    # 4
    subjects = {}
    for n in roots:     # 5
        subject, have = n.facts()["SUBJECT"], subjects.get(n.facts()["SUBJECT"])
        if subject and (have is None or (not n.row and have.row) or (have.is_reply() and n.row and not n.is_reply())):
            subjects[subject] = n
    for n in list(roots):
        subject = n.facts()["SUBJECT"]
        have = subjects.get(subject)
        if not subject or have is n:
            continue
        roots.remove(n)
        if not have.row and not n.row:
            for child in list(n.children):
                have.adopt(child)
        elif not have.row or (n.is_reply() and not have.is_reply()):
            have.adopt(n)
        else:
            both = Node()
            roots[roots.index(have)] = subjects[subject] = both
            both.adopt(have)
            both.adopt(n)
    return "".join("(%s)" % n.text() for n in sorted(roots, key=Node.key))     # 6


def refs(rows):
    """THREAD=REFS (draft-ietf-morg-inthread): nothing is gathered by subject, and the thread with the youngest message stands last."""
    def latest(n):
        return max(([n.row["DATE"]] if n.row else []) + [latest(c) for c in n.children])
    return "".join("(%s)" % n.text() for n in sorted(linked(rows), key=lambda n: (latest(n), n.seq or min(n.children, key=Node.key).seq)))


def ordered_subject(rows):
    threads = {}
    for seq, row in sorted(enumerate(rows, 1), key=lambda r: (r[1]["DATE"], r[0])):
        threads.setdefault(row["SUBJECT"], []).append(seq)      # a dict keeps the order of the first ones: by date
    return "".join("(%s)" % " ".join([str(t[0])] + [("(%d)" if len(t) > 2 else "%d") % n for n in t[1:]]).replace(") (", ")(") for t in threads.values())


def base_subject(text):
    """(base subject, whether it is a reply or forward): section 2.1, its steps in order; encoded words are decoded already."""
    blob = r"\[[^\[\]]*\] *"
    text, reply = re.sub(r"[ \t\r\n]+", " ", text), False
    while True:
        while True:     # 2
            if text.lower().endswith("(fwd)"):
                text, reply = text[:-5], True
            elif text.endswith(" "):
                text = text[:-1]
            else:
                break
        while True:     # 3 to 5
            leader = re.match(r"(?:%s)*(?:re|fwd?) *(?:%s)?:| " % (blob, blob), text, re.I)
            lone = re.match(blob, text)
            if leader:
                text, reply = text[leader.end():], reply or leader.group() != " "
            elif lone and text[lone.end():]:
                text = text[lone.end():]
            else:
                break
        if not (text.lower().startswith("[fwd:") and text.endswith("]")):       # 6
            return text, reply
        text, reply = text[5:-1], True


def collated(text):
    """i;unicode-casemap (RFC 5051), as octets."""
    return unicodedata.normalize("NFKD", text.upper()).encode()
