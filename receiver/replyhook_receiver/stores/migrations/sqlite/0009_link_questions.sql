-- dead_answers counts the refusals of the link at hand; questions are the job's, whatever its links.

ALTER TABLE assets ADD COLUMN link_questions INTEGER NOT NULL DEFAULT 0; -- how often its provider was asked for a link

UPDATE assets SET link_questions = min(dead_answers, 3);
