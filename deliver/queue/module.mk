QUEUED := queued_main.c queued.c queued_conn.c \
	queued_client.c queued_limit.c queued_user.c queued_rules.c queued_etrn.c \
	queued_trans.c queued_rcpt.c queued_rewrite.c header_addresses.c queued_commit.c queued_record.c queued_batches.c queued_rows.c queued_head.c queued_checks.c \
	queued_agent.c queued_lines.c queued_sched.c queued_active.c queued_local.c queued_remote.c queued_routes.c queued_outgoing.c queued_outbody.c queued_sts.c queued_tlsrpt.c queued_tlsreport.c queued_verify.c queued_trouble.c tlsrpt_text.c \
	queued_post.c queued_bounce.c retry.c dsn.c queued_control.c queued_quarantine.c queued_notice.c \
	queued_ask.c queued_filter.c queued_known.c queued_gauges.c queued_sync.c queued_restrict.c queued_effects.c queued_milter.c
$(call program,queued,$(QUEUED) deliver/local/spawn.c $(RESTRICT) $(RESOLVE_RUN) $(REMOTE) $(DNS_PROCESS) $(POLICY) $(STS),spool smtp authres map mail conf dns ipc io os log base,-lcares -lz)
$(call unittest,test_queue_rules,test_queue_rules.c retry.c dsn.c queued_head.c,smtp mail conf ipc io os log base test)
$(call unittest,test_checks,test_checks.c queued_checks.c deliver/restrict/access.c,smtp mail conf ipc io os log base test)
$(call unittest,test_ask,test_ask.c queued_ask.c queued_known.c,conf ipc io os log base test)
$(call unittest,test_header_addresses,test_header_addresses.c header_addresses.c,smtp mail base test)
$(call fuzzer,fuzz_header_addresses,fuzz_header_addresses.c header_addresses.c,smtp mail base)
$(call fuzzer,fuzz_received,fuzz_received.c queued_head.c,mail base)
$(call unittest,test_verify,test_verify.c queued_verify.c,conf ipc io os log base test)
$(call unittest,test_tlsrpt,test_tlsrpt.c tlsrpt_text.c,base test)
$(call fuzzer,fuzz_tlsrpt,fuzz_tlsrpt.c tlsrpt_text.c,base)
