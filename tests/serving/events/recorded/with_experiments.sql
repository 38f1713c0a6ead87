CREATE TABLE public.catalogue (
    item_id character varying(200) NOT NULL,
    title text,
    description text,
    brand text,
    categories text,
    price double precision,
    currency character varying(3),
    available boolean,
    revision bigint NOT NULL
);
CREATE TABLE public.erasures (
    row_id bigint NOT NULL,
    profile_hash character varying(64) NOT NULL,
    erased_at bigint NOT NULL
);
CREATE SEQUENCE public.erasures_row_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.erasures_row_id_seq OWNED BY public.erasures.row_id;
CREATE TABLE public.events (
    row_id bigint NOT NULL,
    event_id character varying(200) NOT NULL,
    profile character varying(220) NOT NULL,
    user_id character varying(200),
    session_id character varying(200),
    item_id character varying(200) NOT NULL,
    event character varying(16) NOT NULL,
    rating double precision,
    quantity double precision NOT NULL,
    price double precision,
    "timestamp" bigint NOT NULL,
    impression_id character varying(200),
    received_at bigint NOT NULL
);
CREATE SEQUENCE public.events_row_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.events_row_id_seq OWNED BY public.events.row_id;
CREATE TABLE public.exposures (
    row_id bigint NOT NULL,
    experiment character varying(100) NOT NULL,
    profile character varying(220) NOT NULL,
    arm character varying(16) NOT NULL,
    model_version character varying(200) NOT NULL,
    "timestamp" bigint NOT NULL
);
CREATE SEQUENCE public.exposures_row_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.exposures_row_id_seq OWNED BY public.exposures.row_id;
CREATE TABLE public.impressions (
    row_id bigint NOT NULL,
    impression_id character varying(64) NOT NULL,
    profile character varying(220),
    user_id character varying(200),
    session_id character varying(200),
    item_ids text NOT NULL,
    scores text NOT NULL,
    propensities text NOT NULL,
    model_version character varying(200) NOT NULL,
    source character varying(32) NOT NULL,
    "timestamp" bigint NOT NULL
);
CREATE SEQUENCE public.impressions_row_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.impressions_row_id_seq OWNED BY public.impressions.row_id;
ALTER TABLE ONLY public.erasures ALTER COLUMN row_id SET DEFAULT nextval('public.erasures_row_id_seq'::regclass);
ALTER TABLE ONLY public.events ALTER COLUMN row_id SET DEFAULT nextval('public.events_row_id_seq'::regclass);
ALTER TABLE ONLY public.exposures ALTER COLUMN row_id SET DEFAULT nextval('public.exposures_row_id_seq'::regclass);
ALTER TABLE ONLY public.impressions ALTER COLUMN row_id SET DEFAULT nextval('public.impressions_row_id_seq'::regclass);
INSERT INTO public.catalogue VALUES ('new', 'a new lamp', NULL, NULL, '["Food/Drink", "Tea"]', 3.5, NULL, NULL, 1);
INSERT INTO public.catalogue VALUES ('i1', NULL, NULL, NULL, NULL, NULL, NULL, false, 1);
INSERT INTO public.erasures VALUES (1, 'c2ed3ef103247046250e6079e4395868a9b64caa5cbbaf23dd02ccae60ff9bcd', 1795784368782875);
INSERT INTO public.events VALUES (1, 'e0', 'user:u0', 'u0', NULL, 'i0', 'click', NULL, 1, NULL, 1795521600000000, NULL, 1795784368646666);
INSERT INTO public.events VALUES (2, 'e1', 'user:u1', 'u1', NULL, 'i1', 'click', NULL, 1, NULL, 1795521601000000, NULL, 1795784368646666);
INSERT INTO public.events VALUES (3, 'e2', 'user:u2', 'u2', NULL, 'i2', 'click', NULL, 1, NULL, 1795521602000000, NULL, 1795784368646666);
INSERT INTO public.events VALUES (4, 'e3', 'user:u0', 'u0', NULL, 'i3', 'click', NULL, 1, NULL, 1795521603000000, NULL, 1795784368646666);
INSERT INTO public.events VALUES (5, 'e4', 'user:u1', 'u1', NULL, 'i4', 'click', NULL, 1, NULL, 1795521604000000, NULL, 1795784368646666);
INSERT INTO public.events VALUES (6, 'e5', 'user:u2', 'u2', NULL, 'i5', 'click', NULL, 1, NULL, 1795521605000000, NULL, 1795784368646666);
INSERT INTO public.events VALUES (7, 'e6', 'user:u0', 'u0', NULL, 'i6', 'purchase', NULL, 2, 2.5, 1795521606000000, 'imp0', 1795784368646666);
INSERT INTO public.events VALUES (8, 'e7', 'user:u1', 'u1', NULL, 'i7', 'rating', 4, 1, NULL, 1795521607000000, NULL, 1795784368646666);
INSERT INTO public.events VALUES (9, 'e8', 'session:s9', NULL, 's9', 'i8', 'click', NULL, 1, NULL, 1795521608000000, NULL, 1795784368646666);
INSERT INTO public.exposures VALUES (1, 'banner', 'user:u0', 'treatment', '3', 1795521599999999);
INSERT INTO public.exposures VALUES (2, 'banner', 'user:u1', 'control', '3', 1795521599999999);
INSERT INTO public.exposures VALUES (3, 'banner', 'user:u2', 'control', '3', 1795521599999999);
INSERT INTO public.impressions VALUES (1, 'imp0', 'user:u0', 'u0', NULL, '["a","b"]', '[2.0,1.0]', '[1.0,0.5]', '3', 'hybrid', 1795521600000000);
INSERT INTO public.impressions VALUES (2, 'imp1', 'user:u1', 'u1', NULL, '["a","b"]', '[2.0,1.0]', '[1.0,0.5]', '3', 'hybrid', 1795521600000001);
INSERT INTO public.impressions VALUES (3, 'imp2', 'user:u2', 'u2', NULL, '["a","b"]', '[2.0,1.0]', '[1.0,0.5]', '3', 'hybrid', 1795521600000002);
SELECT pg_catalog.setval('public.erasures_row_id_seq', 1, true);
SELECT pg_catalog.setval('public.events_row_id_seq', 11, true);
SELECT pg_catalog.setval('public.exposures_row_id_seq', 3, true);
SELECT pg_catalog.setval('public.impressions_row_id_seq', 3, true);
ALTER TABLE ONLY public.catalogue
    ADD CONSTRAINT catalogue_pkey PRIMARY KEY (item_id);
ALTER TABLE ONLY public.erasures
    ADD CONSTRAINT erasures_pkey PRIMARY KEY (row_id);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_event_id_key UNIQUE (event_id);
ALTER TABLE ONLY public.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (row_id);
ALTER TABLE ONLY public.exposures
    ADD CONSTRAINT exposures_pkey PRIMARY KEY (row_id);
ALTER TABLE ONLY public.impressions
    ADD CONSTRAINT impressions_impression_id_key UNIQUE (impression_id);
ALTER TABLE ONLY public.impressions
    ADD CONSTRAINT impressions_pkey PRIMARY KEY (row_id);
CREATE INDEX catalogue_revision ON public.catalogue USING btree (revision);
CREATE INDEX events_profile ON public.events USING btree (profile, "timestamp");
CREATE INDEX events_received_at ON public.events USING btree (received_at);
CREATE UNIQUE INDEX exposures_once ON public.exposures USING btree (experiment, profile);
CREATE INDEX exposures_profile ON public.exposures USING btree (profile);
CREATE INDEX impressions_profile ON public.impressions USING btree (profile);
CREATE INDEX impressions_timestamp ON public.impressions USING btree ("timestamp");
