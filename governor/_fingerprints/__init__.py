"""Fingerprints of requests and digests of their answers, by which repetitions are recognized. Nothing readable is kept.

A request has two fingerprints, each a keyed digest (BLAKE2b, RFC 7693) under a random secret of the governor. The exact one is
of the method, the URL and the body, in canonical form if that is JSON, a form, compressed with gzip, or of several parts,
without what signs it. In the shape, what differs between repetitions is folded:

- What a word calls a counter, a time or an identifier of the request: `"attempt":3`, `step 3`, `ts=1700000000`,
  `"trace_id":"…"`. Every other number may be what one of many requests is about.
- Cursors, sessions in the path, and names in queries of GraphQL; the order, case and punctuation of words that are searched
  for.
- In what is asked of a language model, or of a tool in its place: parameters of sampling, identifiers of calls, and of the
  conversation before it the turns at its end that repeat those before them. The history of an agent in a loop grows.

An answer is compared without what it says about itself: its identifiers, its times, how long it took, and what it used. Of a
stream the text is compared, of a model that calls tools its calls, and of an error the words.

Costs about 7 us for a small request without numbers and 30 us for one with some, 60 us for a prompt of 1 KiB, and 400 us for
one of 11 kB, of which at most 8 KiB are folded; 30 us for the answer of a model, and 200 us for a list of 40 objects.
"""

from governor._fingerprints.answers import acknowledges, fails, goes_on, is_pending, lists
from governor._fingerprints.fingerprints import LENIENT, Fingerprints, check

__all__ = ["LENIENT", "Fingerprints", "acknowledges", "check", "fails", "goes_on", "is_pending", "lists"]
