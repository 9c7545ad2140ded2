-- placeholder for the schema of branch pg
CREATE TABLE homing.tasks (id int);
