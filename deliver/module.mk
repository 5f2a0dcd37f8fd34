RESTRICT := restrict.c restrict_rules.c restrict_names.c restrict_access.c access.c dial_text.c
DELIVER_STATIC := $(if $(filter asan fuzz,$(BUILD)),,-static-pie)
$(call program,deliver,deliver.c deliver_user.c deliver_plan.c deliver_program.c forward.c aliases.c deliver_quota.c,store mail map ipc io os log base,$(DELIVER_STATIC))
$(call program,sendmail,sendmail.c sendmail_msg.c sendmail_smtp.c,smtp mail conf os log base)
REMOTE_SRC := remote.c remote_job.c remote_dns.c remote_smtp.c remote_body.c remote_auth.c remote_tls.c downgrade.c
$(call unittest,test_remote,test_remote.c $(REMOTE_SRC) own.c,smtp mail conf dns ipc io os log base test)
$(call unittest,test_resolve,test_resolve.c resolve.c expand.c route.c rewrite.c own.c aliases.c,smtp map conf os log base test)
POSTMAP := postmap.c postmap_build.c aliases.c
$(call program,postmap,$(POSTMAP),map conf os log base)
$(call program,postalias,$(POSTMAP),map conf os log base)
$(call program,newaliases,$(POSTMAP),map conf os log base)
QUEUED_FRONT := queued_client.c queued_limit.c queued_user.c queued_rules.c queued_etrn.c
QUEUED_SRC := queued_main.c queued.c queued_conn.c $(QUEUED_FRONT) queued_trans.c queued_rewrite.c header_addresses.c queued_commit.c queued_head.c queued_agent.c queued_sched.c queued_active.c \
	queued_local.c queued_remote.c queued_tlsrpt.c \
	queued_post.c queued_bounce.c queued_ask.c queued_sync.c queued_control.c queued_restrict.c queued_effects.c queued_checks.c $(RESTRICT) retry.c dsn.c spawn.c \
	resolve.c resolve_access.c resolve_run.c expand.c route.c rewrite.c own.c aliases.c $(REMOTE_SRC) dns.c dns_cache.c dns_ares.c \
	policy.c policy_service.c policy_text.c dial.c policy_talk.c policy_milter.c policy_milter_ask.c policy_milter_change.c milter_wire.c queued_milter.c
$(call program,queued,$(QUEUED_SRC),spool smtp map mail conf dns ipc io os log base,-lcares)
$(call unittest,test_dns_cache,test_dns_cache.c dns_cache.c,ipc base test)
QUEUETOOL := postqueue.c queuetool_ask.c queuetool_list.c queuetool_show.c
$(call program,postern-queue,$(QUEUETOOL),spool mail conf ipc io os log base)
$(call program,postqueue,$(QUEUETOOL),spool mail conf ipc io os log base)
$(call program,postsuper,$(QUEUETOOL),spool mail conf ipc io os log base)
$(call program,postcat,$(QUEUETOOL),spool mail conf ipc io os log base)
$(call program,postern,postern.c postern_config.c postern_why.c postern_why_restrict.c postern_trace.c logline.c postern_check.c check_conf.c check_delivery.c check_maps.c check_system.c postmap_build.c \
	resolve.c resolve_access.c expand.c route.c rewrite.c own.c aliases.c $(RESTRICT) milter_wire.c,smtp map mail conf dns ipc io os log base)
$(call program,postern-setup,setup_main.c setup_files.c setup_dns.c,spool conf io os log base)
$(call unittest,test_queue_rules,test_queue_rules.c retry.c dsn.c queued_head.c,smtp mail conf ipc io os log base test)
$(call unittest,test_programs,test_programs.c deliver_plan.c deliver_program.c forward.c aliases.c,store mail map ipc io os log base test)
$(call unittest,test_remote_rules,test_remote_rules.c remote_auth.c remote_tls.c downgrade.c,mail conf io os log base test)
$(call fuzzer,fuzz_downgrade,fuzz_downgrade.c downgrade.c,mail base)
$(call fuzzer,fuzz_forward,fuzz_forward.c forward.c aliases.c,base)
$(call unittest,test_header_addresses,test_header_addresses.c header_addresses.c,smtp mail base test)
$(call fuzzer,fuzz_header_addresses,fuzz_header_addresses.c header_addresses.c,smtp mail base)
$(call unittest,test_logline,test_logline.c logline.c,base test)
$(call fuzzer,fuzz_logline,fuzz_logline.c logline.c,base)
$(call fuzzer,fuzz_received,fuzz_received.c queued_head.c,mail base)
$(call fuzzer,fuzz_aliases,fuzz_aliases.c aliases.c,base)
$(call fuzzer,fuzz_resolve,fuzz_resolve.c resolve.c expand.c route.c rewrite.c own.c aliases.c,smtp map conf os log base)
$(call program,postern-import,import_main.c import_open.c import_target.c import_report.c import_mbox.c import_tree.c import_maildir.c \
	import_server.c import_net.c import_imap.c import_pop3.c import_parse.c,store map imap mail conf ipc io os log base)
$(call fuzzer,fuzz_import_reply,fuzz_import_reply.c import_parse.c,imap mail base)
$(call unittest,test_restrict,test_restrict.c $(RESTRICT),smtp mail conf dns ipc io os log base test)
$(call fuzzer,fuzz_access,fuzz_access.c $(RESTRICT),smtp mail conf dns os log base)
$(call unittest,test_policy,test_policy.c policy_text.c dial_text.c,base test)
$(call fuzzer,fuzz_policy,fuzz_policy.c policy_text.c dial_text.c,base)
$(call unittest,test_milter,test_milter.c milter_wire.c dial_text.c,smtp base test)
$(call fuzzer,fuzz_milter,fuzz_milter.c milter_wire.c dial_text.c,smtp base)
