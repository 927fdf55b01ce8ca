-- What nobody could read is rare and looked for by hand: found without reading everything else.
CREATE INDEX callbacks_unrecognised ON callbacks (verdict) WHERE verdict = 'unrecognised';
