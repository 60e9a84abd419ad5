"""Use cases of the application: a line each is all that it takes to offer one."""

from __future__ import annotations

from dishka import Provider, Scope, provide_all

from rebalancer.application import (
    accounts,
    backtests,
    corporate_actions,
    corrections,
    decisions,
    evaluation,
    health,
    idempotency,
    job_worker,
    jobs,
    market_data,
    market_import,
    market_issues,
    market_schedule,
    portfolios,
    rebalance,
    training,
    transactions,
)


class UseCaseProvider(Provider):
    """Use cases, built from the ports and settings that they name as attributes."""

    scope = Scope.APP
    use_cases = provide_all(
        accounts.AssessRisk,
        accounts.LogIn,
        accounts.LogOut,
        accounts.ReadProfile,
        accounts.RefreshLogin,
        accounts.Register,
        backtests.ReadSeries,
        backtests.RunBacktest,
        backtests.StartBacktest,
        corporate_actions.BookActions,
        corrections.VoidEntry,
        evaluation.EvaluatePolicies,
        evaluation.StoreEvidence,
        evaluation.StoreEvidenceReports,
        health.CheckHealth,
        idempotency.StoreAnswer,
        job_worker.ClaimJob,
        jobs.CancelJob,
        jobs.ListJobs,
        jobs.ReadJob,
        jobs.RequeueJob,
        jobs.SubmitJob,
        market_data.DescribeAsset,
        market_data.DescribeMarket,
        market_data.DescribeRegime,
        market_import.ImportMarket,
        market_issues.DecideIssues,
        market_data.PrepareStores,
        market_schedule.ReadSchedule,
        market_schedule.RunSchedule,
        market_data.ReadCloses,
        market_data.SearchAssets,
        portfolios.ClosePortfolio,
        portfolios.MeasurePerformance,
        portfolios.OpenPortfolio,
        portfolios.ReadPortfolio,
        transactions.ReadTransactions,
        transactions.RecordCashFlow,
        transactions.RecordTrades,
        portfolios.RevisePortfolio,
        decisions.AcceptProposal,
        rebalance.BuildContext,
        decisions.CancelProposal,
        decisions.CollectFills,
        rebalance.ProposeForPortfolio,
        rebalance.ReadProposals,
        decisions.RejectProposal,
        training.TrainPolicy,
    )
