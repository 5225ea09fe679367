-- Makes the roles and the schema, where they are missing: what every revision takes for granted.
do $block$
declare
    role text;
begin
    foreach role in array array['muster_migrator', 'muster_app', 'muster_readonly'] loop
        if not exists (select from pg_roles where rolname = role) then
            begin
                execute format('create role %I nologin', role);
            exception when duplicate_object or unique_violation then null; -- another database was faster
            end;
        end if;
    end loop;
    if not pg_has_role(current_user, 'muster_migrator', 'member') then
        grant muster_migrator to current_user;
    end if;
    if not has_database_privilege('muster_migrator', current_database(), 'create') then
        execute format('grant create on database %I to muster_migrator', current_database());
    end if;
    if to_regnamespace('muster') is null then
        create schema muster authorization muster_migrator;
    end if;
end
$block$;
set role muster_migrator;
grant usage on schema muster to muster_app, muster_readonly;
create table if not exists muster.schema_revision (version_num varchar(32) primary key);
grant select on muster.schema_revision to muster_app, muster_readonly;
